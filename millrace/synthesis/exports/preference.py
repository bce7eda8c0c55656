"""Pairs of next actions: the one on the proven path, and a sibling that was a wrong step.

A wrong step is a call that the tool refused, or whose observation led nowhere. A call that was ended for its time or memory, and
a step whose value only the verifier could not confirm, are no model's mistake and make no pair.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from millrace.synthesis.sampling import NOT_PROVABLE


def rows(item: Mapping[str, Any], trajectory: Mapping[str, Any], tree: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One pair for each failed sibling along the path; none where all siblings were as good."""
    context = [f"Question: {item['question']}"]
    for node in trajectory["nodes"]:
        for other in tree["nodes"]:
            led_nowhere = bool(other["note"]) and not other["note"].startswith(NOT_PROVABLE)
            failed = other["cause"] == "refused" or led_nowhere
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
