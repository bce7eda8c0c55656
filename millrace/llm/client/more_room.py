"""Answers that broke off at their longest length: asked for again with more room, a few times.

A model that thinks before it answers uses up the limit with its thoughts, and how much it thinks is not known beforehand. What
broke off says nothing about the model.
"""

from __future__ import annotations

import msgspec

from millrace.llm import Reply, Request
from millrace.llm.client.structured import parsed
from millrace.llm.client.thoughts import without_thoughts
from millrace.llm.failures import CutOff, ReplyInvalid

FACTOR = 4
"""The second time an answer gets this many times the room, the third and last time all that the config allows."""


def is_cut_off(reply: Reply, request: Request) -> bool:
    """Whether the reply broke off before there was an answer in it."""
    if reply.finish != "length":
        return False
    if request.schema is not None:
        try:
            parsed(reply, request.schema)
        except (CutOff, ReplyInvalid):
            return True
        return False
    if reply.tool_calls:
        return any(call.invalid is not None for call in reply.tool_calls)
    return not without_thoughts(reply.text).strip()


def roomier(request: Request, longest: int) -> list[Request]:
    """The same request with more and more room, up to `longest` tokens; none where it has that. A server that was left to choose
    (some stop at a few hundred tokens) is told.
    """
    first = request.max_tokens
    if first is not None and first >= longest:
        return []
    limits = [longest] if first is None else sorted({min(first * FACTOR, longest), longest})
    return [msgspec.structs.replace(request, max_tokens=limit) for limit in limits]
