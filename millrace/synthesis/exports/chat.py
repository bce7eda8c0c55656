"""Conversations with tool calls, in the message form of OpenAI-compatible servers: for supervised fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def rows(item: Mapping[str, Any], trajectory: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One conversation: the question, each call with its answer, the final answer."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": item["question"]}]
    for number, node in enumerate(trajectory["nodes"], 1):
        name = f"call_{number}"
        call = {"name": node["action"]["tool_name"], "arguments": json.dumps(node["action"]["parameters"], ensure_ascii=False)}
        messages.append(
            {"role": "assistant", "content": None, "tool_calls": [{"id": name, "type": "function", "function": call}]}
        )
        messages.append({"role": "tool", "tool_call_id": name, "content": node["observation"]})
    messages.append({"role": "assistant", "content": item["answer"]})
    yield {"id": item["qa_id"], "messages": messages}
