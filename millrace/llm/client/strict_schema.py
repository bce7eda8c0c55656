"""The subset of JSON schema that every server with a strict schema mode takes.

https://platform.openai.com/docs/guides/structured-outputs/supported-schemas: objects name all their properties, require each of
them and allow no other; of the keywords only those below. Values are checked against the whole schema here, whatever was sent.
"""

from __future__ import annotations

from typing import Any

KEYWORDS = frozenset(
    {"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "$ref", "$defs"}
)
WORDS = frozenset({"title", "description"})
LIMITS = frozenset(
    {"minLength", "maxLength", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "default",
        "examples",
        "$schema",
        "$id",
        "$comment",
    }
)
"""May be left out of what is sent: what remains allows more, and the answer is checked afterwards."""


def strict_problem(schema: dict[str, Any], *, root: bool = True) -> str | None:
    """Why `schema` is outside of the subset; None when it is in it."""
    if root and (schema.get("type") != "object" or "anyOf" in schema):
        return "the whole is no object"
    unknown = set(schema) - KEYWORDS - WORDS
    if unknown:
        return f"keyword {min(unknown)}"
    if schema.get("type") == "object" or "properties" in schema:
        if schema.get("additionalProperties") is not False:
            return "an object that allows other properties"
        if set(schema.get("required", ())) != set(schema.get("properties", {})):
            return "a property that is not required"
    for part in _parts(schema):
        problem = strict_problem(part, root=False)
        if problem is not None:
            return problem
    return None


def without_limits(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without the keywords that only narrow it down."""
    kept: dict[str, Any] = {}
    for name, value in schema.items():
        if name in LIMITS:
            continue
        if name in {"properties", "$defs"} and isinstance(value, dict):
            kept[name] = {inner: without_limits(part) if isinstance(part, dict) else part for inner, part in value.items()}
        elif name in {"anyOf", "oneOf", "allOf"} and isinstance(value, list):
            kept[name] = [without_limits(part) if isinstance(part, dict) else part for part in value]
        elif name == "items" and isinstance(value, dict):
            kept[name] = without_limits(value)
        else:
            kept[name] = value
    return kept


def _parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", [])]
    return [part for part in (*found, schema.get("items")) if isinstance(part, dict)]
