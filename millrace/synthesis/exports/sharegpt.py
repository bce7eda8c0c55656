"""Conversations for LLaMA-Factory and ms-swift: `conversations` of human, function_call, observation and gpt, `system`, `tools`.

`dataset_info.json` of LLaMA-Factory names the file with `"formatting": "sharegpt"` and the columns `messages`, `system`, `tools`:
docs/training-formats.md has the entry.
"""

from __future__ import annotations

from collections.abc import Iterator

from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Trajectory, Tree
from millrace.synthesis.exports._conversation import as_text, system_of, tools_of, turns_of
from millrace.synthesis.exports.trl import status_column


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[dict[str, object]]:
    """One conversation. The format has no place for words beside a call, so the reasoning is left out."""
    del tree
    said = [{"from": "human", "value": item.question}]
    for turn in turns_of(item, trajectory):
        called = as_text({"name": turn.call.tool_name, "arguments": turn.call.parameters})
        said += [{"from": "function_call", "value": called}, {"from": "observation", "value": turn.observation}]
    said.append({"from": "gpt", "value": item.answer})
    tools = as_text([tool["function"] for tool in tools_of(item)])
    yield {"id": item.qa_id, "conversations": said, "system": system_of(item), "tools": tools, **status_column(item)}
