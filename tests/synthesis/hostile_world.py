"""An environment with one tool that does whatever it is asked to: the worst that a user's own may do."""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Operator, Start, Tool, ToolError, Value


def act(what: str) -> str:
    """Do it."""
    what = what.split("#", maxsplit=1)[0]
    if what == "compute in C":
        return str(len(str(10 ** (10**8))))
    if what == "take memory":
        return str(len(bytearray(2**30)))
    if what == "end the process":
        os._exit(0)
    if what == "segfault":
        ctypes.string_at(0)
    if what == "sleep":
        time.sleep(600)
    if what == "doze":
        time.sleep(0.3)
    if what == "answer a set":
        return {1, 2}  # type: ignore[return-value]
    if what == "raise":
        raise KeyError("x")
    if what == "refuse":
        raise ToolError("no")
    if what == "print":
        print("this is no answer")  # noqa: T201 - that is the point
    if what == "write much":
        return "x" * 10_000_000
    return what


class HostileWorld:
    """One tool, and an operator that calls it with the seed's text."""

    name = "hostile"
    concurrent = False
    frames: Mapping[str, Mapping[str, str]] = {"en": {"start": "Say {value}.", "hop": "{v} is {phrase}.", "ask": "What is {v}?"}}
    verifier = None
    versions = {"world": "1"}

    def __init__(self) -> None:
        schema = {
            "type": "object",
            "properties": {"what": {"type": "string"}},
            "required": ["what"],
            "additionalProperties": False,
        }
        self.tools = {"act": Tool(name="act", description="acts", parameters=schema, call=act)}
        self.replay_tools = self.tools
        self.operators = {
            "act": Operator(
                name="act", takes="text", gives="text", tool="act", draw=_draw, act=_act, read=_read, en="it", zh="它"
            )
        }

    def start(self, seed: str, rng: random.Random) -> Start:
        """The seed's text."""
        return Start("text", seed)

    def close(self) -> None:
        """Nothing to let go of."""


def _draw(rng: random.Random, values: Sequence[Value]) -> dict[str, Any]:
    return {"mark": rng.randint(0, 10**9)}


def _act(args: Mapping[str, Any], values: Sequence[Value]) -> dict[str, Any]:
    return {"what": f"{values[0]}#{args['mark']}"}


def _read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> Value:
    return f"{text}{args['mark']}"


def open_environment() -> HostileWorld:
    """The environment."""
    return HostileWorld()
