"""What the supervision tests share: the witness FIFO, the nasty background, and the containment modes of this machine."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.processes.supervised import available_containment

PROGRAMS = Path(__file__).parent / "programs"
NASTY = PROGRAMS / "nasty.py"
MODES = ["pidns", "pidns+cgroup", "userns", "subreaper", "subreaper+cgroup"]


class Witness:
    """A FIFO whose reading end sees end of file only when the last process that holds its writing end is dead."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path, 0o666)
        path.chmod(0o666)
        self.end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def wait_for_ready(self, count: int, limit_s: float = 60.0) -> None:
        """Until `count` processes have said that they are up."""
        deadline, seen = time.monotonic() + limit_s, 0
        while seen < count:
            assert time.monotonic() < deadline, f"only {seen} of {count} processes came up"
            select.select([self.end], [], [], 0.05)
            try:
                data = os.read(self.end, 100)
            except BlockingIOError:
                continue
            seen += len(data)
            if not data:
                time.sleep(0.002)

    def seconds_until_all_dead(self, limit_s: float = 30.0) -> float | None:
        """How long until nobody holds the FIFO any more; None if somebody still does after `limit_s`."""
        began = time.monotonic()
        poll = select.poll()
        poll.register(self.end, 0)
        while time.monotonic() - began < limit_s:
            if any(event & select.POLLHUP for _, event in poll.poll(100)):
                return time.monotonic() - began
        return None

    def close(self) -> None:
        os.close(self.end)


@pytest.fixture
def make_witness():
    """Makes witnesses at paths of the test's choice."""
    made: list[Witness] = []

    def make(path: Path) -> Witness:
        made.append(Witness(path))
        return made[-1]

    yield make
    for witness in made:
        witness.close()


@pytest.fixture
def witness(make_witness: Callable[[Path], Witness], tmp_path: Path) -> Witness:
    return make_witness(tmp_path / "witness")


@pytest.fixture(scope="session")
def modes_here() -> dict[str, str | None]:
    return available_containment()


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest, modes_here: dict[str, str | None]) -> str:
    """Each containment mode this machine offers; the others are skipped with the machine's own reason."""
    for part in request.param.split("+"):
        if modes_here[part] is not None:
            pytest.skip(f"{part} cannot be used on this machine: {modes_here[part]}")
    return request.param


@pytest.fixture
def nasty(witness: Witness) -> list[str]:
    """The command line of the nasty background, reporting to `witness`."""
    return [sys.executable, "-I", "-S", str(NASTY), str(witness.path)]
