"""Preference pairs for TRL's `DPOTrainer`: `prompt`, `chosen` and `rejected` as messages, `tools` as JSON text.

The pairs are those of `preference`: a call on the proven path, and a sibling that was a wrong step.
"""

from __future__ import annotations

from collections.abc import Iterator

from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Trajectory, Tree
from millrace.synthesis.exports._conversation import Turn, as_text, tools_of, turns_of
from millrace.synthesis.exports.preference import wrong_steps_beside
from millrace.synthesis.exports.trl import asked, opening, spoken, status_column
from millrace.synthesis.lines import calls_of


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[dict[str, object]]:
    """One pair for each wrong step beside the path; both sides say the same and call otherwise."""
    turns = turns_of(item, trajectory)
    for place, (node, _) in enumerate(calls_of(trajectory)):
        for other in wrong_steps_beside(node, tree):
            assert other.action is not None
            yield {
                "id": f"{item.qa_id}_{node.node_id}_{other.node_id}",
                "prompt": [*opening(item), *spoken(turns[:place])],
                "chosen": [asked(turns[place])],
                "rejected": [asked(Turn(turns[place].why, other.action, other.observation))],
                "reason": other.note or other.observation[:300],
                "tools": as_text(tools_of(item)),
                **status_column(item),
            }
