"""Prompts for TRL's `GRPOTrainer`: `prompt` as messages, and what its reward function is given beside the completions.

`GRPOTrainer(reward_funcs=millrace.synthesis.scoring.trainer_rewards.grpo_reward, …)`; `verifier_args` is JSON text, since as
columns each row would be given the names of all others.
"""

from __future__ import annotations

from collections.abc import Iterator

from millrace.records.record import encode
from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Trajectory, Tree
from millrace.synthesis.exports.trl import status_column


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[dict[str, object]]:
    """One prompt per item."""
    del trajectory, tree
    yield {
        "id": item.qa_id,
        "prompt": [{"role": "user", "content": item.question}],
        "answer": item.answer,
        "difficulty": item.quality.difficulty,
        "verifier_args": encode(item.verifier.args).decode(),
        **status_column(item),
    }
