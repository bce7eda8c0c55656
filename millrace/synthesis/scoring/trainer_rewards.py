"""The reward in the forms in which trainers call it: TRL's `GRPOTrainer`, verl's `custom_reward_function`.

Both score with `reward_of`: the truth is computed again, in the world of the question. Rows: the exports `grpo` and `verl`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.synthesis.scoring.reward import reward_of


def grpo_reward(
    completions: Sequence[str | Sequence[Mapping[str, Any]]], verifier_args: Sequence[str], **columns: object
) -> list[float]:
    """1.0 for each completion that answers its question, else 0.0.

    Args:
        completions: texts, or conversations of which the last message counts.
        verifier_args: the column of the rows, JSON text.
        columns: what else the trainer gives; not looked at.
    """
    del columns
    return [reward_of(args, _said(completion)) for completion, args in zip(completions, verifier_args, strict=True)]


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **options: object
) -> float:
    """1.0 for a solution that answers its question, else 0.0.

    Raises:
        ValueError: `extra_info` has no `verifier_args`: the row is not of the export `verl`.
    """
    del ground_truth, options
    if not extra_info or "verifier_args" not in extra_info:
        raise ValueError(f"a row of {data_source} has no extra_info.verifier_args: write it with the export `verl`")
    return reward_of(extra_info["verifier_args"], solution_str)


def _said(completion: str | Sequence[Mapping[str, Any]]) -> str:
    if isinstance(completion, str):
        return completion
    return str(completion[-1].get("content") or "") if completion else ""
