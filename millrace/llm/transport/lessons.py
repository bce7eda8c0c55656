"""What a server's 400 says about how it wants to be asked: fields it does not take, names it prefers, schemas it refuses.

Hosted models differ in the fields they take (reasoning models refuse `temperature` and want `max_completion_tokens`), and say so
only when they are asked. Only fields that no answer depends on are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from msgspec.structs import replace

from millrace.llm.transport.exchange import Answer
from millrace.llm.transport.refusals import whole_message
from millrace.llm.transport.reply_parts import items, loose_json, mapping
from millrace.records.llm import Abilities

STATUSES = frozenset({400, 404, 415, 422, 501})
"""With these a server refuses the form of a request."""

THOUGHTS = ("reasoning_content", "reasoning_details", "thinking_blocks")
"""Fields of a turn with calls of tools: the thoughts behind them, which the next request needs where the server keeps none
itself. Kimi, DeepSeek and others; OpenRouter; LiteLLM in front of Claude.
"""

SIGNATURES = ("extra_content", "provider_specific_fields")
"""Fields of a call of tools: the signature of the thought behind it. Gemini's OpenAI-compatible API; LiteLLM."""

LEFT_OUT = (
    *("seed", "top_p", "temperature", "stop", "stop_sequences", *THOUGHTS, *SIGNATURES, "tool_choice"),
    *("include", "store"),
)
"""In this order, where a server takes only one of several."""

LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_REFUSES = re.compile(
    r"support|recogni[sz]ed|unknown|unexpected|permitted|allowed|extra[ _](input|field|forbidden)|deprecated|only the default"
    r"|cannot (be|both)|can't be|invalid (parameter|argument|field|value)|not a valid (parameter|field)|incompatible"
    r"|must be (1|unset)|not available|only temperature",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(
    r"too (large|big|long|many|high)|exceed|at most|context (length|window)|(greater|larger|more|less) than|maximum", re.I
)
_VALUE = re.compile(
    r"\b(must|has to|have to|should|only|requires?|positive|range|between|invalid|incorrect)\b|[<>]", re.IGNORECASE
)
"""What is said of a field's value: where no answer depends on the field, the server's own choice will do."""

_ROLE = re.compile(
    r"(system|developer) (role|message|prompt|instruction)s? (is |are )?not (supported|allowed|enabled)|not support '?system'?",
    re.I,
)
_THOUGHTS_MISSING = re.compile(
    r"(missing|required|must).{0,60}reasoning_content|reasoning_content.{0,60}(missing|required|must)", re.IGNORECASE
)
_SCHEMA = re.compile(
    r"response_?format|output_?(config|format)|text\.format|json_?\s?schema|guided|structured|schema|response_mime_type"
    r"|responsemimetype",
    re.IGNORECASE,
)


def lesson_in(answer: Answer, sent: Collection[str]) -> Callable[[Abilities], Abilities] | None:
    """What to remember of a refused request; None when it says nothing about its form.

    Args:
        answer: of another status than 200.
        sent: the names of the fields that were sent.
    """
    if answer.status not in STATUSES:
        return None
    said = whole_message(answer)
    if _ROLE.search(said):
        return _no_system_role
    if _THOUGHTS_MISSING.search(said):
        return _wants_thoughts
    named = _named(answer) & set(sent)
    if not named and not _REFUSES.search(said) and not _VALUE.search(said):
        return None
    mentioned = named or {name for name in sent if re.search(rf"\b{re.escape(name)}\b", said)}
    for name, other in LIMITS.items():
        if name in mentioned and (re.search(rf"\b{other}\b", said) or (_REFUSES.search(said) and not _TOO_MUCH.search(said))):
            return _renaming(name, other)
    refused = next((name for name in LEFT_OUT if name in mentioned), None)
    return None if refused is None or not (_REFUSES.search(said) or _VALUE.search(said)) else _leaving_out(refused)


def refuses_schema(answer: Answer) -> bool:
    """Whether the server refused the request for its schema or its schema mode and not for something else."""
    return answer.status in STATUSES and _SCHEMA.search(whole_message(answer)) is not None


def _named(answer: Answer) -> set[str]:
    """The fields that an error names as such: `param` as OpenAI writes it, `loc` as FastAPI does."""
    try:
        value = mapping(loose_json(answer.body))
    except ValueError:
        return set()
    error = mapping(value.get("error")) or value
    places = [mapping(one).get("loc") for one in items(value.get("detail")) + items(error.get("detail"))]
    names = {str(part) for place in places for part in items(place)}
    return names | ({str(error["param"])} if error.get("param") else set())


def _wants_thoughts(known: Abilities) -> Abilities:
    return replace(known, wants_thoughts=True)


def _no_system_role(known: Abilities) -> Abilities:
    return replace(known, no_system_role=True)


def _renaming(name: str, other: str) -> Callable[[Abilities], Abilities]:
    return lambda known: replace(known, renamed={**known.renamed, name: other})


def _leaving_out(name: str) -> Callable[[Abilities], Abilities]:
    return lambda known: replace(known, left_out=sorted({*known.left_out, name}))
