"""Conversations for TRL's `SFTTrainer`: `messages` with a system message, reasoning and calls, `tools` as JSON text.

The arguments of a call are JSON text as well: as columns, each row would be given the argument names of all others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Trajectory, Tree
from millrace.synthesis.exports._conversation import Turn, as_text, system_of, tools_of, turns_of
from millrace.synthesis.lines import status_in_row


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[dict[str, object]]:
    """One conversation."""
    del tree
    said = [*opening(item), *spoken(turns_of(item, trajectory)), {"role": "assistant", "content": item.answer}]
    yield {"id": item.qa_id, "messages": said, "tools": as_text(tools_of(item)), **status_column(item)}


def opening(item: QAItem) -> list[dict[str, Any]]:
    """What the model is asked."""
    return [{"role": "system", "content": system_of(item)}, {"role": "user", "content": item.question}]


def spoken(turns: list[Turn]) -> list[dict[str, Any]]:
    """Each call with its answer, as messages."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        messages += [asked(turn), {"role": "tool", "name": turn.call.tool_name, "content": turn.observation}]
    return messages


def asked(turn: Turn) -> dict[str, Any]:
    """A call, with the reasoning before it."""
    function = {"name": turn.call.tool_name, "arguments": as_text(turn.call.parameters)}
    return {"role": "assistant", "content": turn.why, "tool_calls": [{"type": "function", "function": function}]}


def status_column(item: QAItem) -> dict[str, object]:
    """How the answer was checked, where no program has proven it."""
    status = status_in_row(item)
    return {"status": status} if isinstance(status, str) else {}
