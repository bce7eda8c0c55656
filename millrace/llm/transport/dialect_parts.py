"""What dialects of several makers do alike: the bearer token, lists of models, pictures in data URLs, the usage in any body."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from millrace.llm import Usage
from millrace.llm.keys import Secret
from millrace.llm.transport.reply_parts import loose_json, mapping


def bearer(key: Secret | None) -> list[tuple[str, str]]:
    """The header of a bearer token; none without a key."""
    return [("authorization", f"Bearer {key.reveal()}")] if key else []


def listed_models(body: bytes) -> list[str]:
    """The ids in a list of models, which some servers give bare."""
    value = orjson.loads(body)
    entries = value if isinstance(value, list) else value.get("data") or value.get("models") or []
    named = (entry if isinstance(entry, str) else entry.get("id") or entry.get("name") for entry in entries)
    return [name for name in named if isinstance(name, str)]


def in_data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 text of a data URL; None for any other URL."""
    if not url.startswith("data:"):
        return None
    media_type, _, data = url.removeprefix("data:").partition(";base64,")
    return media_type, data


def usage_in(body: bytes, read: Callable[[Any], Usage], field: str = "usage") -> Usage:
    """The tokens that any body tells of.

    Args:
        body: of a reply, usable or not.
        read: what stands in `field` as a usage.
        field: where the counts are.
    """
    try:
        return read(mapping(loose_json(body)).get(field))
    except ValueError:
        return Usage()
