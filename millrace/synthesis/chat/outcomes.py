"""The class of a seed of which a chat model made nothing: what it did, told apart from what happened to it.

| reason | what happened |
|---|---|
| `refused` | it refused, by its server's word |
| `filtered` | a filter of its server refused; it said nothing |
| `cut_off` | its answer broke off at its longest length |
| `empty_reply` | it answered nothing |
| `no_call` | it answered in words, or in what is no call |
| `only_repeats` | it called for nothing that was not called before |
| `unknown_tool` | it called tools that there are not |
| `bad_arguments` | its calls were refused for their arguments, or by the tool |
| `tools_unavailable` | the tools could not answer: a server that they ask was at fault, or a call had to be ended |
| `stopped_early` | its calls worked, and it stopped before a path was long enough |

What ends a call of the model itself (`CallFailed` with its class, `no_json`, `schema_violation`) is a failure of the seed or a
rejected trajectory under that name. `filtered`, `tools_unavailable` and the classes of `CallFailed` are no fault of the model.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import msgspec

from millrace.errors import ItemFailed
from millrace.llm import Reply
from millrace.records.synthesis import Rejected
from millrace.synthesis.lines import FAILURE_CHARS
from millrace.synthesis.sampling import Tree

T = TypeVar("T")

SHOWN_CHARS = 200
"""How much of what the model said is shown."""

UNKNOWN_TOOL = "there is no tool "


def value_of(reply: Reply, kind: type[T]) -> T:
    """The value that a reply was to hold.

    Raises:
        ItemFailed: it holds none, or another; the reason says whether a model refused, a filter did, or it wrote something else.
    """
    if reply.value is None:
        said = reply.text[:SHOWN_CHARS]
        if reply.finish == "refusal" and reply.filtered:
            raise ItemFailed("filtered", f"a filter of the server refused to answer {said!r}")
        if reply.finish == "refusal":
            raise ItemFailed("refused", f"the model refused to answer: {said!r}")
        raise ItemFailed("no_json", f"the answer holds no value: {said!r}")
    try:
        return msgspec.convert(reply.value, kind)
    except msgspec.ValidationError as error:
        raise ItemFailed("schema_violation", str(error)) from error


def silence_of(reply: Reply) -> str:
    """What a reply without a call is."""
    if reply.finish == "refusal":
        return "filtered" if reply.filtered else "refused"
    if reply.finish == "length":
        return "cut_off"
    return "no_call" if reply.text.strip() else "empty_reply"


def nothing_made(tree: Tree, said: Counter[str], last: str) -> Rejected:
    """The record of a seed of which no question could be written.

    Args:
        tree: what was explored.
        said: how often the model answered what (`silence_of`, `only_repeats`).
        last: the last words of it that were no call.
    """
    steps = [node for node in tree.nodes.values() if node.action is not None]
    usable = [node for node in steps if node.usable]
    words = f"; it said: {last[:SHOWN_CHARS]!r}" if last.strip() else ""
    if usable:
        most = "only_repeats" if said["only_repeats"] else "stopped_early"
        deepest = max(node.depth for node in usable)
        return _rejected(tree, most, f"{len(usable)} usable calls, the longest path has {deepest}{words}")
    if steps:
        outside = [node for node in steps if node.observation.cause in ("ended", "unavailable")]
        unknown = [node for node in steps if node.observation.text.startswith(UNKNOWN_TOOL)]
        reason = "tools_unavailable" if outside else "unknown_tool" if len(unknown) * 2 > len(steps) else "bad_arguments"
        shown = (outside or unknown or steps)[-1].observation.text[:SHOWN_CHARS]
        return _rejected(tree, reason, f"{len(steps)} calls, none usable; the last: {shown}")
    reason = said.most_common(1)[0][0] if said else "no_call"
    return _rejected(tree, reason, f"{said.total()} answers and no call{words}")


def _rejected(tree: Tree, reason: str, detail: str) -> Rejected:
    return Rejected(reason=reason, detail=detail, source_id=tree.source_id, seed_data=tree.seed[:FAILURE_CHARS])
