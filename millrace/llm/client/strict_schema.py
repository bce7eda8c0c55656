"""The subset of JSON schema that every server with a strict schema mode takes.

https://platform.openai.com/docs/guides/structured-outputs/supported-schemas: objects name all their properties, require each of
them and allow no other; of the keywords only those below. Values are checked against the whole schema here, whatever was sent.
"""

from __future__ import annotations

from typing import cast

from millrace.llm import JsonSchema

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


def strict_problem(schema: JsonSchema, *, root: bool = True) -> str | None:
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


def without_limits(schema: JsonSchema) -> JsonSchema:
    """The schema without the keywords that only narrow it down."""
    kept = cast("JsonSchema", {name: value for name, value in schema.items() if name not in LIMITS})
    if "properties" in kept:
        kept["properties"] = {name: _part_without_limits(part) for name, part in kept["properties"].items()}
    if "$defs" in kept:
        kept["$defs"] = {name: _part_without_limits(part) for name, part in kept["$defs"].items()}
    if "items" in kept:
        kept["items"] = _part_without_limits(kept["items"])
    if "anyOf" in kept:
        kept["anyOf"] = [_part_without_limits(part) for part in kept["anyOf"]]
    if "oneOf" in kept:
        kept["oneOf"] = [_part_without_limits(part) for part in kept["oneOf"]]
    if "allOf" in kept:
        kept["allOf"] = [_part_without_limits(part) for part in kept["allOf"]]
    return kept


def _part_without_limits(part: JsonSchema) -> JsonSchema:
    """The same of a schema within it, which may also be just true or false."""
    return part if isinstance(part, bool) else without_limits(part)


def _parts(schema: JsonSchema) -> list[JsonSchema]:
    found = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", [])]
    return [part for part in (*found, schema.get("items")) if isinstance(part, dict)]
