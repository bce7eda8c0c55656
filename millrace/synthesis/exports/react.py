"""Thought, action, observation as one text: for models without a chat template."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def rows(item: Mapping[str, Any], trajectory: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One text per item."""
    lines = [f"Question: {item['question']}"]
    for node in trajectory["nodes"]:
        lines.append(f"Thought: {node['intent']}")
        lines.append(f"Action: {node['action']['tool_name']}[{json.dumps(node['action']['parameters'], ensure_ascii=False)}]")
        lines.append(f"Observation: {node['observation']}")
    lines.append(f"Final answer: {item['answer']}")
    yield {"id": item["qa_id"], "text": "\n".join(lines)}
