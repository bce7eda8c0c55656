"""Prompts with the name and arguments of the verifier that scores a new answer: for reinforcement learning.

`millrace.synthesis.scoring.reward.reward_of(row["verifier_args"], response)` is the reward.
"""

from __future__ import annotations

from collections.abc import Iterator

from millrace.records.synthesis import QAItem
from millrace.records.synthesis_rows import RlRow
from millrace.records.trajectories import Trajectory, Tree
from millrace.synthesis.lines import status_in_row


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[RlRow]:
    """One prompt per item."""
    yield RlRow(
        id=item.qa_id,
        prompt=item.question,
        answer=item.answer,
        answer_type=item.answer_type,
        aliases=item.aliases,
        verifier=item.verifier.name,
        verifier_args=item.verifier.args,
        difficulty=item.quality.difficulty,
        status=status_in_row(item),
    )
