"""What an environment is: tools that really run, operators that a program can plan with, and a verifier of its own.

One file in this folder is one environment; its file name is its name in a config. A user's own environment is a module with
the same `open_environment`, named by its dotted path. How to write one: docs/extending/environment.md.

Words used here: an **action** is one tool call; an **observation** is what came back; a **hop** is an action with a meaning
(an operator with its constants) and the value that was read out of its observation; a **chain** is a start and the hops after
it. A chain is the formal question: the words are rendered from it, the answer is its last value, and the verifier computes the
same values in another way.
"""

from __future__ import annotations

import queue
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jsonschema

from millrace.errors import MillraceError
from millrace.plugins.contracts import optional
from millrace.records import trajectories

Value = Any
"""A JSON value. Integers stay below 2**53 so that every JSON reader keeps them."""


Constants = dict[str, int | str]
"""The constants of one use of an operator, by the names that its words have for them."""


class ToolError(MillraceError):
    """A tool says no: its message becomes an error observation for the policy."""


class ToolUnavailable(ToolError):
    """A tool cannot answer because something outside is at fault (a server that is down): no mistake of the policy."""


@dataclass(frozen=True, slots=True)
class Action:
    """One tool call."""

    tool_name: str
    parameters: trajectories.Arguments


@dataclass(frozen=True, slots=True)
class Observation:
    """What a tool answered."""

    status: trajectories.CallStatus
    text: str
    cause: trajectories.CallCause = ""
    """Of an error: the tool refused the call, the call was ended from outside (time, memory, a process that died), or what the
    tool needs out there did not answer."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool with typed arguments."""

    name: str
    description: str
    parameters: dict[str, Any]
    """JSON schema of the arguments object."""
    call: Callable[..., str]
    """Called with the arguments by name; raises `ToolError` to refuse."""
    contained: bool = False
    """Its own call runs in a process that is ended when it takes too long or too much; other tools are given such a process."""
    host: Caller | None = None
    """Where it runs (see `toolset`); None: here, in a thread that can be given up and not be ended."""

    def run(self, parameters: Mapping[str, Any], *, timeout_s: float = 30.0, max_chars: int = 20_000) -> Observation:
        """Check the arguments, call, and turn everything that goes wrong into an error observation.

        Args:
            parameters: what the policy wrote; it may be anything.
            timeout_s: after this the call is ended and the observation says so.
            max_chars: longer answers are cut, with a note at the end.
        """
        wrong = argument_errors(self.parameters, parameters)
        if wrong:
            return Observation("error", f"{self.name}: {wrong}", "refused")
        if self.host is not None:
            return self.host.call_all([Action(self.name, dict(parameters))], timeout_s=timeout_s, max_chars=max_chars)[0]
        if self.contained:
            return called(self, parameters, max_chars)
        return _within(timeout_s, self, parameters, max_chars)


class Caller(Protocol):
    """Where tools run."""

    def call_all(self, actions: Sequence[Action], *, timeout_s: float, max_chars: int) -> list[Observation]:
        """What the tools answer, in the calls' order; each call has its own `timeout_s`."""
        ...


def called(tool: Tool, parameters: Mapping[str, Any], max_chars: int) -> Observation:
    """What a call gives, made here and now.

    Raises:
        MemoryError: there is no more memory to be had.
    """
    try:
        text = tool.call(**parameters)
    except ToolError as error:
        cause: trajectories.CallCause = "unavailable" if isinstance(error, ToolUnavailable) else "refused"
        return Observation("error", f"{tool.name}: {error}"[:max_chars], cause)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever a tool raises is an observation, never the end of a run
        return Observation("error", f"{tool.name}: {type(error).__name__}: {error}"[:max_chars], "ended")
    if not isinstance(text, str):
        return Observation("error", f"{tool.name}: it answered a {type(text).__name__}, not a text", "ended")
    if len(text) > max_chars:
        text = f"{text[:max_chars]}\n[cut after {max_chars} of {len(text)} characters]"
    return Observation("ok", text)


def argument_errors(schema: Mapping[str, Any], parameters: Any) -> str:
    """What is wrong with the arguments, in words a policy can act on; empty when nothing is."""
    problems = []
    for problem in jsonschema.Draft202012Validator(schema).iter_errors(parameters):
        place = ".".join(str(part) for part in problem.absolute_path)
        problems.append(f"'{place}': {problem.message}" if place else problem.message)
    return "; ".join(sorted(problems))[:1000]


def _within(timeout_s: float, tool: Tool, parameters: Mapping[str, Any], max_chars: int) -> Observation:
    answers: queue.SimpleQueue[Observation] = queue.SimpleQueue()

    def work() -> None:
        try:
            answers.put(called(tool, parameters, max_chars))
        except MemoryError:
            answers.put(Observation("error", f"{tool.name}: there was no memory left for it", "ended"))

    threading.Thread(target=work, daemon=True, name="tool").start()
    try:
        return answers.get(timeout=timeout_s)
    except queue.Empty:
        return Observation("error", f"{tool.name}: no answer within {timeout_s:g} s; the call was given up", "ended")


@dataclass(frozen=True, slots=True)
class Start:
    """What a seed becomes: the typed value from which a chain sets out."""

    kind: str
    value: Value
    args: trajectories.Arguments = field(default_factory=dict)
    """What the verifier needs to make the value again."""
    match: trajectories.SeedMatch = "fallback"
    """How the seed led here: by a word in it, by its own text, or, honestly, not at all (chosen by hash)."""
    prefer: tuple[str, ...] = ()
    """Operators that fit the seed's topic; the first hop is one of them when one applies."""

    def record(self) -> trajectories.Start:
        """The part of a record that a chain starts with."""
        return trajectories.Start(kind=self.kind, value=self.value, args=self.args)


@dataclass(frozen=True, slots=True)
class Operator:
    """One typed operation a program can plan: how to call for it, how to read its result, how to say it.

    `values` is always the chain so far, start first; the input is `values[-1]`, and an operator may look further back.
    """

    name: str
    takes: str
    gives: str
    tool: str
    draw: Callable[[random.Random, Sequence[Value]], Constants | None]
    """The constants of one use of it; None where it does not apply."""
    act: Callable[[Mapping[str, Any], Sequence[Value]], trajectories.Arguments]
    """The tool's arguments."""
    read: Callable[[Mapping[str, Any], Sequence[Value], str], Value]
    """The value that the observation's text says; raises ValueError when it says none."""
    en: str
    zh: str
    """How it is said: `{x}` is the input, `{other}` an earlier value, other names are constants."""
    answers: bool = True
    """Whether its value can be the answer of a question."""
    evidence: bool = True
    """False for a step that only finds the place (a search): it is no hop of the question."""
    weight: float = 1.0
    """How often it is tried first, against the others."""
    rules: tuple[str, ...] = ()
    """The frames `rule:NAME` that its question must state: how the world is read, where a reader could do it otherwise."""
    say: Callable[[Mapping[str, Any], str], str] | None = None
    """The words for a use of it, by its constants and the language, where `en` and `zh` do not hold them."""
    graded: bool = False
    """Whether its constant `level` says how difficult a question with it is; else the number of hops does."""
    answer_type: str = ""
    """How an answer to it is scored (a name in `millrace.synthesis.scoring`); empty: by the form of the value."""


class Verifier(Protocol):
    """Computes a chain's values a second time, by other means than the tools: another theorem, another view of the data."""

    name: str

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The start's value, made again. Raises: `Unprovable`."""
        ...

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """The one value of a hop. Raises: `Unprovable`, when there is none or more than one."""
        ...

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """Other values the hop could have had: the last of `values` is the true one, and the check puts them in its place."""
        ...

    @optional
    def suppose(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """As `apply`, asked for values that are only supposed, where a proof asks more."""
        return self.apply(op, args, values)


class Unprovable(MillraceError):
    """The verifier cannot confirm a hop: no value, several values, or none of its business."""


class Environment(Protocol):
    """A world to work in. Opened once per worker, used by one seed at a time or by several threads when its tools allow it."""

    name: str
    tools: Mapping[str, Tool]
    operators: Mapping[str, Operator]
    """Empty: only a chat model can act here."""
    verifier: Verifier | None
    """None: nothing made here can be `verified`."""
    frames: Mapping[str, Mapping[str, str]]
    """Language → the words around a question (see `writing`)."""
    versions: Mapping[str, str]
    """What the values depend on: tool versions, corpus hashes, isolation in force."""
    concurrent: bool = False
    """Whether its tools may be called from several threads at once."""

    def start(self, seed: str, rng: random.Random) -> Start:
        """Read a seed. Raises: `ItemFailed` when nothing can be made of it."""
        ...

    @property
    @optional
    def replay_tools(self) -> Mapping[str, Tool]:
        """The same tools for the replay of a trajectory; where it can, another process than `tools` use."""
        return self.tools

    @optional
    def prepare(self) -> None:
        """Called in the process that its tools run in, before the first call: make there what all calls need."""
        del self

    @optional
    def close(self) -> None:
        """Let go of processes, servers and files. Harmless when called twice."""
        del self


class Plugin(Protocol):
    """What a module in this folder has."""

    def open_environment(self, **settings: Any) -> Environment:
        """The environment; its arguments are `environment_kwargs` of the config.

        Raises:
            InputError: the data that it needs is not there.
        """
        ...


ABOUT_THE_HOST = frozenset({"isolation", "retriever"})
"""Versions that say how something was run; the answers do not depend on them."""


def world_of(environment: Environment) -> dict[str, str]:
    """The versions that the answers depend on: which data, which tables, which tools."""
    return {name: version for name, version in environment.versions.items() if name not in ABOUT_THE_HOST}


def result_of(text: str, expression: str) -> str:
    """What a calculator-like observation says that `expression` is.

    Raises:
        ValueError: it has no such line, or the line says ERROR.
    """
    head = f"{expression} = "
    for line in text.splitlines():
        if line.startswith(head):
            said = line[len(head) :]
            if said.startswith("ERROR"):
                break
            return said
    raise ValueError(f"the observation says no value for '{expression}'")
