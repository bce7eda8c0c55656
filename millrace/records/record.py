"""What a record is: a typed line of a file, with the id of its shape.

Every record that one stage hands to another, or that a file holds, is defined once in this room, in a file per domain. A record
is immutable; its fields stand in the order in which they are written.

    class Selection(Record, frozen=True, kw_only=True):
        SCHEMA: ClassVar[str] = "millrace.selection/1"
        schema: Literal["millrace.selection/1"] = "millrace.selection/1"
        id: str

`SCHEMA` names the shape: another shape is another id, and two types never share one (tests/records asserts it). A record that
says in each line which shape it has carries the field `schema` besides; in the others the file's place says it. `read_records`
and `read_record` of `millrace.run.journal` read files of them.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import Any, ClassVar, TypeVar

import msgspec
import orjson

from millrace.errors import RunFailed


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a file, or a file. Fields that it does not know are left out: a later version may have added them."""

    SCHEMA: ClassVar[str]
    """`millrace.<noun>/<version>`."""


PluginChoice = dict[str, Any]
"""A plug-in's `name`, or its dotted path, and its settings: `{"name": "huggingface", "model": "/models/one"}`.

The one shape that no record can give fields to: which there are is known to the plug-in alone, whose settings class checks them
when it is loaded. Source: a config, or the plug-in that trained a model.
"""

OTHER_VERSION = "continue with the version of Millrace that wrote it, or use a new run folder"

RecordT = TypeVar("RecordT", bound=msgspec.Struct)


def encode(record: msgspec.Struct) -> bytes:
    """A record as one JSON object in UTF-8, without an end of line: fields in their order, numpy scalars as numbers.

    orjson writes it, as it writes all files of a run, so that a float has the same digits in all of them.
    """
    return orjson.dumps(msgspec.to_builtins(record, enc_hook=_number_of))


def decode(data: bytes, kind: type[RecordT], where: str) -> RecordT:
    """The record in one JSON object.

    Args:
        data: the object, in UTF-8.
        kind: its type; a union of types, each with a tag of its own, is a type too.
        where: file and line, for the message.

    Raises:
        RunFailed: it is no JSON, has another schema, or a field is missing or of another type; the message names all three.
    """
    try:
        record: RecordT = decoder(kind).decode(data)
    except msgspec.ValidationError as error:
        raise RunFailed(f"{where} {_what_is_wrong(data, kind, error)}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunFailed(f"{where} {damaged(error)}") from error
    except RecursionError as error:
        raise RunFailed(f"{where} {damaged('nested too deep')}") from error
    return record


def damaged(why: object) -> str:
    """The end of a message about something that is no JSON at all."""
    return f"is damaged ({why}); delete the file to have it made again"


@lru_cache(maxsize=256)
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder of a type, made once."""
    return msgspec.json.Decoder(kind)


def _what_is_wrong(data: bytes, kind: Any, error: msgspec.ValidationError) -> str:
    """The message's end. A line of another shape fails at whichever field comes first: its own `schema` says more."""
    wanted = getattr(kind, "SCHEMA", None)
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as no_json:  # msgspec stops at the first field that does not fit; the rest is no JSON
        return damaged(no_json)
    schema = found.get("schema") if isinstance(found, dict) else None
    if wanted is not None and isinstance(schema, str) and schema != wanted:
        return f"has the schema {schema!r} where this version reads {wanted!r}; {OTHER_VERSION}"
    what, _, path = str(error).partition(" - at ")
    if path.strip("`").endswith(".schema") and "'" in what:  # a record inside of this one
        return f"holds a record of the schema {what[what.index(chr(39)) :]}, which this version does not read; {OTHER_VERSION}"
    name = f"record of the schema {wanted!r}" if wanted is not None else "record of a known shape"
    return f"is no {name}: {_in_words(error)}; delete the file to have it made again"


def _in_words(error: msgspec.ValidationError) -> str:
    """msgspec's "Expected `str`, got `int` - at `$.claim.id`" as "claim.id: expected `str`, got `int`"."""
    what, _, path = str(error).partition(" - at ")
    what = what[:1].lower() + what[1:]
    place = re.sub(r"^\$\.?", "", path.strip("`"))
    return f"{place}: {what}" if place else what


def _number_of(value: Any) -> Any:
    """numpy's numbers and arrays, which a computation may leave in a field, as Python's."""
    numpy: Any = sys.modules.get("numpy")  # code that has such a value has imported it; importing takes 0.1 s
    if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
        return value.tolist()
    raise TypeError(f"a record can not hold a {type(value).__name__}")
