"""The reward for an answer, from the arguments a record carries: the truth is computed again, in the world of the question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from millrace.errors import UsageError
from millrace.records.synthesis import VerifierArgs
from millrace.run.ids import canonical
from millrace.synthesis.environments import Environment, world_of
from millrace.synthesis.scoring.answers import score_answer
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.verification import score

_open: dict[bytes, Environment] = {}


def reward_of(verifier_args: Mapping[str, Any] | str, response: str) -> float:
    """1.0 when a response answers the question of a record, else 0.0.

    Args:
        verifier_args: `verifier.args` of a line of `qa.jsonl`, `verifier_args` of a line of an export; a mapping or JSON text.
        response: what the model wrote.

    Raises:
        UsageError: the question is about another world than the one that can be opened here (another text, other tables).
    """
    if isinstance(verifier_args, str):
        wanted = msgspec.json.decode(verifier_args, type=VerifierArgs)
    else:
        wanted = msgspec.convert(verifier_args, VerifierArgs)
    environment = environment_for(wanted)
    now = world_of(environment)
    for name, then in sorted(wanted.world.items()):
        if then != now.get(name):
            raise UsageError(f"the question is about {name} {then}, and here is {now.get(name)}: its answer may be another")
    if not wanted.chain:  # written by a model: its answer was proven or judged when it was made
        return score_answer(wanted.answer_type, wanted.answer or "", response)
    assert environment.verifier is not None
    return score(environment.verifier, wanted.chain, response, wanted.answer_type)


def environment_for(wanted: VerifierArgs) -> Environment:
    """The environment that a question is about, as it is here; opened once and kept until `close_worlds`."""
    key = canonical([wanted.environment, wanted.environment_kwargs])
    if key not in _open:
        config = SynthesisConfig(environment_mode=wanted.environment, environment_kwargs=wanted.environment_kwargs)
        _open[key] = open_environment(config)
    return _open[key]


def close_worlds() -> None:
    """Let go of the environments that are kept."""
    while _open:
        _open.popitem()[1].close()
