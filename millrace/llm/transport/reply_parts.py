"""Reading what a server sent without falling over what does not concern the answer.

A paid answer is only refused for what is wrong with the answer itself. Counts, names and details come in any form: what can be
read is read, the rest is unknown.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

MOST_TOKENS = 2**53
"""A count above this is nonsense."""


class NoAnswer(ValueError):
    """A reply in which there is everything but an answer."""


def loose_json(body: bytes) -> Any:
    """The JSON value in `body`, also with `NaN`, lone surrogates or bytes that are no UTF-8 somewhere in it.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        try:
            return json.loads(body.decode("utf-8-sig", "replace"), strict=False)
        except RecursionError:
            raise ValueError("the JSON is nested too deeply") from error


JsonObject = dict[str, Any]
"""A JSON object in the words of a server's API, as it came or goes: which fields it has is not ours to say."""


def mapping(value: Any) -> JsonObject:
    """`value` if it is a JSON object, else {}."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """`value` if it is a JSON array, else []."""
    return value if isinstance(value, list) else []


def words(value: Any) -> str:
    """`value` if it is a text that can be written as UTF-8, else ""."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def token_count(value: Any) -> int | None:
    """A number of tokens in any spelling (`12`, `12.0`, `"12"`); None for everything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)) and 0 <= value < MOST_TOKENS and value == int(value):
        return int(value)
    return None
