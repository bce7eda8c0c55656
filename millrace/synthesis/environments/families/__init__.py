"""Problems of many families, each at a level of difficulty: a family's author solves them, its second method proves the answer.

A seed says what it wants in a few words: a topic, and a level as a number from 1 to 5. The items are for training and tests with
a programmatic reward; there is no tool use in them worth imitating, so their exports are `rl` and what a reader makes of
`qa.jsonl`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from millrace.config import Settings
from millrace.run.ids import hash_files
from millrace.synthesis.environments import Constants, Operator, Start, Tool, ToolError, Value, result_of
from millrace.synthesis.environments.families.verifier import FamilyVerifier
from millrace.synthesis.families.catalogue import chosen, load_family, problem_of
from millrace.synthesis.families.contract import LEVELS

FRAMES = {language: {"start": "", "hop": "{phrase}", "ask": ""} for language in ("en", "zh")}
"""A family says the whole question."""

ANY, SAID = "any level", ("", "level i", "level ii", "level iii", "level iv", "level v")
"""What a chain sets out from: no number, which could be taken for an answer."""


class Options(Settings):
    """The environment's own settings (`environment_kwargs`)."""

    families: tuple[str, ...] = ()
    """Names of families, of rooms of them (`logic`), or dotted paths of your own; empty: all that are here."""
    levels: tuple[Annotated[int, Field(ge=LEVELS[0], le=LEVELS[-1])], ...] = tuple(LEVELS)
    """Levels to draw from where a seed names none."""


class FamiliesEnvironment:
    """A tool that solves a problem, and a verifier that does it in another way."""

    name = "families"
    concurrent = False
    frames = FRAMES

    def __init__(self, options: Options) -> None:
        self.options = options
        families = {name: load_family(name) for name in chosen(options.families)}
        self.operators = {name: self._operator(name) for name in families}
        self.topics = {name: module.TOPIC for name, module in families.items()}
        self.verifier = FamilyVerifier(lambda name, level, seed: load_family(name).verify(problem_of(name, level, seed)))
        self.versions = {"families": hash_files(*families.values())}
        properties = {"family": {"enum": list(families)}, "level": {"enum": list(LEVELS)}, "seed": {"type": "integer"}}
        self.tools = {
            "solve": Tool(
                name="solve",
                description="Solves the problem that a family draws at a level of difficulty for a seed.",
                parameters={
                    "type": "object",
                    "properties": properties,
                    "required": list(properties),
                    "additionalProperties": False,
                },
                call=solve,
            )
        }
        self.replay_tools = self.tools

    def start(self, seed: str, rng: random.Random) -> Start:
        """What a seed asks for: families by its words, a level by its number."""
        del rng
        stated = [int(digit) for digit in re.findall(r"(?<!\d)[1-5](?!\d)", seed)]
        wanted = tuple(name for name, topic in self.topics.items() if re.search(topic, seed, re.IGNORECASE))
        level = SAID[stated[0]] if stated else ANY
        return Start("request", level, match="keyword" if wanted or stated else "fallback", prefer=wanted)

    def close(self) -> None:
        """Nothing to let go of."""

    def _operator(self, name: str) -> Operator:
        module = load_family(name)

        def draw(rng: random.Random, values: Sequence[Value]) -> Constants:
            level = SAID.index(values[0]) if values[0] in SAID else rng.choice(self.options.levels)
            return {"level": level, "seed": rng.randrange(2**40)}

        def act(args: Mapping[str, Any], values: Sequence[Value]) -> dict[str, Any]:
            return {"family": name, "level": args["level"], "seed": args["seed"]}

        def read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> Value:
            said = result_of(text, f"{name}({args['level']}, {args['seed']})")
            return int(said) if module.ANSWER_TYPE == "integer" else said

        def say(args: Mapping[str, Any], language: str) -> str:
            return str(module.say(problem_of(name, args["level"], args["seed"]), language))

        return Operator(
            name=name, takes="request", gives="answer", tool="solve", draw=draw, act=act, read=read, say=say,
            en=f"a problem of the family {name}", zh=f"{name} 族的一道题", answer_type=module.ANSWER_TYPE, graded=True,
        )  # fmt: skip


def solve(family: str, level: int, seed: int) -> str:
    """The tool: the answer that the family's author finds."""
    answer = load_family(family).solve(problem_of(family, level, seed))
    if answer is None:
        raise ToolError("the problem has no answer")
    return f"Results:\n{family}({level}, {seed}) = {answer}"


def open_environment(**options: Any) -> FamiliesEnvironment:
    """The families environment."""
    return FamiliesEnvironment(Options(**options))
