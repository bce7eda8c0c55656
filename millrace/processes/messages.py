"""What supervisor and guards say to each other: JSON, one object a line; the order to a guard is its whole stdin.

TypedDicts and not records: the guards run without site-packages (`python -I -S`), so that they start in tens of milliseconds.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class Order(TypedDict):
    """What is to be run, and how. Source: `supervised`."""

    command: list[str]
    env: dict[str, str]
    cwd: str
    """Empty: the supervisor's."""
    log: str | None
    """The log's path; None: output is discarded."""
    max_log_bytes: int
    """Of the log and its predecessor together."""
    line_delay_s: float
    """How late output may be handed on."""
    grace_s: float
    """Between TERM and KILL."""
    mode: str
    """`auto`, or one of `containment.MODES`."""
    cgroup: bool
    """Whether a cgroup is used where one can be made."""
    nice: int
    affinity: list[int] | None
    """CPU numbers; None: all."""
    memory_bytes: int
    """0: no limit."""
    cpus: float
    """0: no limit."""
    token: str
    """The tree's name."""


class WiredOrder(Order):
    """An order with the guard's ends of the pipes, as file descriptors; -1: there is none. Source: `launch_guard`."""

    lifeline: int
    """Closed when the supervisor ends or gives the tree up."""
    control: int
    """Orders while it runs: `stop SECONDS`, `S` (pause), `C` (continue)."""
    status: int
    """Where `FromGuard` is written."""
    forward: int
    """Where output is handed on, line by line."""
    supervisor: int
    """A pidfd of the supervisor."""


class Started(TypedDict):
    """The command runs. Source: the inner guard."""

    event: Literal["started"]
    pid: int
    """As the outside sees it."""


class Failed(TypedDict):
    """The command, or its containment, could not be started."""

    event: Literal["failed"]
    errno: int
    """0: not a failed system call of the command's."""
    filename: str
    """What was being done: the program, or its working directory."""
    message: str


class Exited(TypedDict):
    """The command itself has ended. Source: the inner guard."""

    event: Literal["exit"]
    returncode: int
    """-N: killed by signal N."""
    outlived: int
    """Processes of the tree that were left then."""


class LeftOver(TypedDict):
    """What the inner guard could not end."""

    event: Literal["leftover"]
    pids: list[int]


FromInnerGuard = Started | Failed | Exited | LeftOver


class StartedContained(Started):
    """`Started` with how it is contained. Source: the outer guard."""

    mode: str
    cgroup: str | None
    """The cgroup's folder; None: there is none."""
    memory_limited_by: str | None
    cpu_limited_by: str | None
    inner: int
    """The inner guard's pid."""


class Ended(TypedDict):
    """Nothing of the tree is left: the fields of `supervised.Ending`. Source: the outer guard."""

    event: Literal["end"]
    returncode: int
    guard_lost: bool
    stopped: bool
    killed: bool
    cpu_s: float
    peak_bytes: int
    oom_kills: int
    log_bytes: int
    log_bytes_lost: int
    leftover: list[int]
    outlived: int


FromGuard = StartedContained | Failed | Ended


class Probed(TypedDict):
    """What `--probe` prints."""

    modes: dict[str, str | None]
    """Why a mode cannot be used here; None: it can."""
    cgroup: str | None
    """The folder in which cgroups can be made."""
