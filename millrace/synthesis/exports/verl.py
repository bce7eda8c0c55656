"""Rows for verl's reinforcement learning, which it reads as JSON lines: `prompt`, `reward_model`, `extra_info`.

`custom_reward_function.path` is the file of `millrace.synthesis.scoring.trainer_rewards`, `custom_reward_function.name` is
`compute_score`; it reads `extra_info["verifier_args"]`, JSON text.
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
        "data_source": f"millrace/{item.verifier.args.environment}",
        "prompt": [{"role": "user", "content": item.question}],
        "ability": item.verifier.args.environment,
        "reward_model": {"style": "rule", "ground_truth": item.answer},
        "extra_info": {
            "id": item.qa_id,
            "answer_type": item.answer_type,
            "difficulty": item.quality.difficulty,
            "verifier_args": encode(item.verifier.args).decode(),
            **status_column(item),
        },
    }
