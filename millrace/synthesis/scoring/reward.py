"""The reward for an answer, from the arguments a record carries: the truth is computed again, in the world of the question."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from millrace.errors import UsageError
from millrace.run.ids import canonical
from millrace.synthesis.environments import Environment, world_of
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.verification import score

_open: dict[bytes, Environment] = {}


def reward_of(verifier_args: Mapping[str, Any], response: str) -> float:
    """1.0 when a response answers the question of a record, else 0.0.

    Args:
        verifier_args: `verifier.args` of a line of `qa.jsonl`, `verifier_args` of a line of `dataset/rl.jsonl`.
        response: what the model wrote.

    Raises:
        UsageError: the question is about another world than the one that can be opened here (another text, other tables).
    """
    key = canonical([verifier_args["environment"], verifier_args["environment_kwargs"]])
    if key not in _open:
        config = SynthesisConfig(
            environment_mode=verifier_args["environment"], environment_kwargs=verifier_args["environment_kwargs"]
        )
        _open[key] = open_environment(config)
    environment = _open[key]
    assert environment.verifier is not None
    then, now = verifier_args["world"], world_of(environment)
    for name in sorted(then):
        if then[name] != now.get(name):
            raise UsageError(f"the question is about {name} {then[name]}, and here is {now.get(name)}: its answer may be another")
    return score(environment.verifier, verifier_args["chain"], response, verifier_args["answer_type"])


def close_worlds() -> None:
    """Let go of the environments that rewards were computed in."""
    while _open:
        _open.popitem()[1].close()
