"""Rows for NeMo Gym: `responses_create_params` of the Responses API, and what its resource server's `/verify` needs.

The server calls `millrace.synthesis.scoring.reward.reward_of(row["verifier_args"], answer)`; the arguments are JSON text.
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
        "responses_create_params": {"input": [{"role": "user", "content": item.question}]},
        "expected_answer": item.answer,
        "verifier_args": encode(item.verifier.args).decode(),
        **status_column(item),
    }
