"""A value that satisfies a JSON schema: what a scripted model answers."""

from __future__ import annotations

import random
from typing import Any

from millrace.llm import JsonSchema


def example_of(schema: JsonSchema, source: random.Random, *, root: JsonSchema | None = None, depth: int = 0) -> Any:
    """One value allowed by `schema`; the same for the same `source`.

    Covers: enum, const, objects, arrays, strings, numbers, booleans, null, anyOf/oneOf/allOf (first branch, merged), local $ref.
    Does not cover: patterns, formats, dependencies, `not`.
    """
    root = schema if root is None else root
    if "$ref" in schema:
        return example_of(_resolve(str(schema["$ref"]), root), source, root=root, depth=depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return source.choice(schema["enum"])
    for name in ("anyOf", "oneOf"):
        if schema.get(name):
            return example_of(schema[name][-1 if depth > 8 else 0], source, root=root, depth=depth + 1)
    if schema.get("allOf"):
        merged: JsonSchema = {}
        for part in schema["allOf"]:
            merged.update(part if "$ref" not in part else _resolve(str(part["$ref"]), root))
        return example_of(merged, source, root=root, depth=depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    return _of_kind(str(kind), schema, source, root, depth)


def _of_kind(kind: str, schema: JsonSchema, source: random.Random, root: JsonSchema, depth: int) -> Any:
    if kind == "object":
        wanted = schema.get("properties", {})
        required = set(schema.get("required", wanted if depth < 4 else ()))
        return {name: example_of(part, source, root=root, depth=depth + 1) for name, part in wanted.items() if name in required}
    if kind == "array":
        count = max(int(schema.get("minItems", min(3, schema.get("maxItems", 3)) if depth < 4 else 0)), 0)
        return [example_of(schema.get("items") or {}, source, root=root, depth=depth + 1) for _ in range(count)]
    if kind in {"integer", "number"}:
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100))
        inside = "exclusiveMinimum" in schema or "exclusiveMaximum" in schema
        if kind == "integer":
            return source.randint(int(low) + (1 if inside else 0), max(int(high) - (1 if inside else 0), int(low)))
        return round(low + (high - low) * (0.25 + source.random() / 2), 3)
    if kind == "boolean":
        return source.random() < 0.5
    if kind == "null":
        return None
    text = f"text {source.randrange(10**6)}"
    text = text.ljust(int(schema.get("minLength", 0)), ".")
    return text[: int(schema["maxLength"])] if "maxLength" in schema else text


def _resolve(pointer: str, root: JsonSchema) -> JsonSchema:
    found: Any = root
    for part in pointer.removeprefix("#").strip("/").split("/"):
        if part:
            found = found[part.replace("~1", "/").replace("~0", "~")]
    resolved: JsonSchema = found
    return resolved
