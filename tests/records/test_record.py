"""Records are types: one id for one shape, and a line of another shape is one clear error."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import ClassVar, Literal

import msgspec
import numpy as np
import pytest

import millrace.records
from millrace.errors import RunFailed
from millrace.records.record import Record, decode, encode
from millrace.run.journal import Journal, read_jsonl, read_record, read_records, write_json, write_jsonl


class Apple(Record, frozen=True, kw_only=True):
    SCHEMA: ClassVar[str] = "millrace.test_apple/2"
    id: str
    schema: Literal["millrace.test_apple/2"] = "millrace.test_apple/2"
    weight_g: float | None
    seeds: tuple[int, ...] = ()


def all_records() -> list[type[Record]]:
    for module in pkgutil.walk_packages(millrace.records.__path__, "millrace.records."):
        importlib.import_module(module.name)
    found, rest = [], [Record]
    while rest:
        below = rest.pop().__subclasses__()
        rest += below
        found += [kind for kind in below if kind.__module__.startswith("millrace.")]
    return found


def test_a_schema_id_names_one_shape() -> None:
    shapes: dict[str, type[Record]] = {}
    for kind in all_records():
        assert getattr(kind, "SCHEMA", None), f"{kind.__name__} has no schema id"
        other = shapes.setdefault(kind.SCHEMA, kind)
        assert other is kind, f"{kind.SCHEMA} names {kind.__name__} and {other.__name__}"
        noun, _, version = kind.SCHEMA.removeprefix("millrace.").partition("/")
        assert noun, kind.SCHEMA
        assert version.isdigit(), kind.SCHEMA


def test_a_record_that_says_its_schema_says_its_own() -> None:
    for kind in all_records():
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        if "schema" in fields:
            assert fields["schema"].default == kind.SCHEMA, kind.__name__
            assert msgspec.json.decode(b'"' + kind.SCHEMA.encode() + b'"', type=fields["schema"].type) == kind.SCHEMA
            with pytest.raises(msgspec.ValidationError):
                msgspec.json.decode(b'"millrace.other/1"', type=fields["schema"].type)


def test_a_record_comes_back_from_its_line_with_its_fields_in_order(tmp_path: Path) -> None:
    apples = [Apple(id="a", weight_g=1e-7, seeds=(1, 2)), Apple(id="ä", weight_g=None)]
    assert write_jsonl(tmp_path / "apples.jsonl", apples) == 2
    assert list(read_records(tmp_path / "apples.jsonl", Apple)) == apples
    first = (tmp_path / "apples.jsonl").read_bytes().splitlines()[0]
    assert first == b'{"id":"a","schema":"millrace.test_apple/2","weight_g":1e-7,"seeds":[1,2]}'


def test_numbers_of_numpy_are_written_as_numbers() -> None:
    apple = Apple(id="a", weight_g=np.float64(0.1), seeds=(np.int64(3),))  # type: ignore[arg-type]
    assert decode(encode(apple), Apple, "here") == Apple(id="a", weight_g=0.1, seeds=(3,))
    with pytest.raises(TypeError, match="can not hold a object"):
        encode(Apple(id="a", weight_g=object()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"id":"b","weight_g":"heavy"}', "weight_g: expected `float | null`, got `str`"),
        (b'{"id":"b","weight_g":1.0,"seeds":[1,"x"]}', "seeds[1]: expected `int`, got `str`"),
        (b'{"id":"b"}', "missing required field `weight_g`"),
        (b"[1]", "expected `object`, got `array`"),
        (b'{"id":"b","schema":"millrace.test_apple/1"}', "has the schema 'millrace.test_apple/1' where this version reads"),
        (b'{"id":"b","weight_g":1.0,"schema":"millrace.test_pear/2"}', "has the schema 'millrace.test_pear/2'"),
        (b'{"id":"b","weight_g":', "is damaged"),
        (b'{"id":"\xff","weight_g":1}', "is damaged"),
        (b'{"id":1,"weight_g":1} and more', "is damaged"),
        (b'{"id":1,"x":' + b"[" * 2_000 + b"]" * 2_000 + b"}", "is damaged"),
        (b'{"id":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is damaged (nested too deep)"),
        (b"[" * 100_000, "is damaged"),
        (b'{"a":' * 100_000, "is damaged"),
    ],
)
def test_a_line_of_another_shape_is_one_error_that_names_file_line_and_field(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "apples.jsonl"
    path.write_bytes(encode(Apple(id="a", weight_g=1.0)) + b"\n\n" + line + b"\n")
    read = read_records(path, Apple)
    assert next(read).id == "a"
    with pytest.raises(RunFailed) as error:
        next(read)
    assert says in str(error.value)
    assert f"{path}, line 3 " in str(error.value)
    assert "\n" not in str(error.value)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "apples.jsonl"
    path.write_bytes(encode(Apple(id="a", weight_g=1.0)) + b"\n" + b'{"id":"b","wei')
    assert [apple.id for apple in read_records(path, Apple)] == ["a"]


def test_a_field_of_a_later_version_is_left_out_and_a_missing_schema_is_this_ones() -> None:
    assert decode(b'{"id":"a","weight_g":2,"colour":"red"}', Apple, "here") == Apple(id="a", weight_g=2.0)


def test_a_file_that_is_one_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "apple.json", Apple(id="a", weight_g=0.25))
    assert read_record(tmp_path / "apple.json", Apple) == Apple(id="a", weight_g=0.25)
    (tmp_path / "apple.json").write_text('{"id": 1}')
    with pytest.raises(RunFailed, match=r"apple\.json is no record of the schema 'millrace.test_apple/2': id: expected `str`"):
        read_record(tmp_path / "apple.json", Apple)


def test_a_journal_takes_records_and_knows_their_ids(tmp_path: Path) -> None:
    for _ in range(2):
        with Journal(tmp_path / "shard.jsonl") as journal:
            journal.append(Apple(id="a", weight_g=1.0), Apple(id="b", weight_g=2.0))
    with Journal(tmp_path / "shard.jsonl") as journal:
        assert journal.ids == {"a", "b"}
        journal.finish()
    assert [record["id"] for record in read_jsonl(tmp_path / "shard.jsonl")] == ["a", "b"]


class Basket(Record, frozen=True, kw_only=True):
    SCHEMA: ClassVar[str] = "millrace.test_basket/1"
    id: str
    apples: list[Apple]


def test_a_record_of_another_version_inside_of_another_record_is_named_with_its_schema() -> None:
    line = b'{"id":"b","apples":[{"id":"a","schema":"millrace.test_apple/1","weight_kg":1}]}'
    with pytest.raises(
        RunFailed, match=r"here holds a record of the schema 'millrace\.test_apple/1', which this version does not"
    ):
        decode(line, Basket, "here")
