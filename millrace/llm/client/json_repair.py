"""JSON in a model's answer, also where there is something around it or it is not quite JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from millrace.llm.client.thoughts import first_mark, without_thoughts

MOST_STARTS = 50
"""Places in a text where a value may begin that are tried: prose full of braces must not cost seconds."""

_FENCE = re.compile(r"```(?:json|JSON)?\s*\n?(.*?)```", re.DOTALL)
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_WORDS = {"True": "true", "False": "false", "None": "null", "NaN": "null"}


def json_in(text: str, *, broke_off: bool = False) -> Any:
    """The JSON value that `text` holds.

    Taken as it is when the text is JSON; otherwise out of a code fence or out of the prose around it, never out of a model's
    visible thinking (see `thoughts.py`): what was considered there is no answer. Trailing commas, Python's spellings of constants
    and raw line breaks in strings are repaired. What broke off is not completed: a guessed end would be an answer that the model
    did not give.

    Args:
        text: the answer.
        broke_off: the text has no end: then only what begins with its first bracket counts, because any later value may be a part
            of the one that broke off.

    Raises:
        ValueError: there is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    marked = first_mark(text)
    if marked is not None:
        around = _value_around(text, marked)
        if around is not None:  # the mark is part of the answer's own words
            return around[0]
        text = without_thoughts(text)
    for candidate in [*_FENCE.findall(text), text]:
        for form in (candidate, _mended(candidate)):
            found = _first_value(form, 1 if broke_off else MOST_STARTS)
            if found is not None:
                return found[0]
    raise ValueError("the answer holds no JSON")


def _value_around(text: str, place: int) -> tuple[Any] | None:
    """The object or array that begins before `place` and ends after it; in a tuple, because a value may be None."""
    decoder = json.JSONDecoder(strict=False)
    starts = [found.start() for found in re.finditer(r"[{\[]", text[:place])]
    for start in starts[:MOST_STARTS]:
        try:
            value, end = decoder.raw_decode(text, start)
        except (json.JSONDecodeError, RecursionError):
            continue
        if end > place:
            return (value,)
    return None


def _first_value(text: str, most_starts: int) -> tuple[Any] | None:
    """The first object or array, or the whole text as a value; in a tuple, because a value may be None."""
    decoder = json.JSONDecoder(strict=False)
    stripped = text.strip()
    try:
        return (decoder.decode(stripped),)
    except (json.JSONDecodeError, RecursionError):
        pass
    position, tries = 0, 0
    while tries < most_starts:
        starts = [found for found in (text.find("{", position), text.find("[", position)) if found >= 0]
        if not starts:
            return None
        position = min(starts)
        try:
            value, _ = decoder.raw_decode(text, position)
        except (json.JSONDecodeError, RecursionError):
            position += 1
            tries += 1
            continue
        return (value,)
    return None


def _mended(text: str) -> str:
    """`text` with the usual slips outside of strings put right."""
    pieces: list[str] = []
    end = 0
    for found in _STRINGS.finditer(text):
        pieces += (_mended_outside(text[end : found.start()]), found[0])
        end = found.end()
    pieces.append(_mended_outside(text[end:]))
    return "".join(pieces)


def _mended_outside(text: str) -> str:
    text = re.sub(r",(\s*[}\]])", r"\1", text)
    return re.sub(r"\b(True|False|None|NaN)\b", lambda found: _WORDS[found[0]], text)
