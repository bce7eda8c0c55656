"""Pairs of next actions: the one on the proven path, and a sibling that led nowhere (an error or a dead end)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def rows(item: Mapping[str, Any], trajectory: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One pair for each failed sibling along the path; none where all siblings were as good."""
    context = [f"Question: {item['question']}"]
    for node in trajectory["nodes"]:
        for other in tree["nodes"]:
            failed = other["status"] == "error" or other["note"]
            if failed and other["parent_id"] == node["parent_id"] and other["node_id"] != node["node_id"]:
                yield {
                    "id": f"{item['qa_id']}_{node['node_id']}_{other['node_id']}",
                    "prompt": "\n".join(context),
                    "chosen": _action(node),
                    "rejected": _action(other),
                    "reason": other["note"] or other["observation"][:300],
                }
        context += [f"Action: {_action(node)}", f"Observation: {node['observation'][:2000]}"]


def _action(node: Mapping[str, Any]) -> str:
    return f"{node['action']['tool_name']}[{json.dumps(node['action']['parameters'], ensure_ascii=False)}]"
