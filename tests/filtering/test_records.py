"""Where records lie in a file: the same records whatever the cuts and the spelling."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.errors import InputError
from millrace.filtering.outcome_files import Part, input_files, is_array, plan_parts, read_records

nasty_text = st.text(alphabet=st.sampled_from('"\\{}[],: \nab汉\u2028é'), max_size=12)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | nasty_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(nasty_text, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(nasty_text, json_values, max_size=4)


def written(content: bytes) -> Path:
    handle, name = tempfile.mkstemp()
    os.write(handle, content)
    os.close(handle)
    return Path(name)


@given(st.lists(objects, max_size=6), st.sampled_from([None, 1, 4]), st.booleans(), st.sampled_from([1, 2, 3, 5, 64, 1 << 20]))
@settings(max_examples=200, deadline=None)
def test_an_array_gives_its_elements_however_it_is_spelt_and_chunked(
    records: list[dict[str, Any]], indent: int | None, ascii_only: bool, read_bytes: int
) -> None:
    path = written(b" \n" + json.dumps(records, indent=indent, ensure_ascii=ascii_only).encode() + b"\n")
    try:
        [part] = plan_parts([path])
        raw = path.read_bytes()
        found = list(read_records(part, read_bytes=read_bytes))
    finally:
        path.unlink()
    assert [json.loads(text) for _, text in found] == records
    assert all(raw[offset : offset + len(text)] == text for offset, text in found)


@given(st.lists(objects, min_size=1, max_size=12), st.integers(1, 200))
@settings(max_examples=150, deadline=None)
def test_the_parts_of_a_file_give_every_line_exactly_once(records: list[dict[str, Any]], part_bytes: int) -> None:
    path = written(b"\n".join(json.dumps(record).encode() for record in records))
    try:
        raw = path.read_bytes()
        found = [pair for part in plan_parts([path], part_bytes) for pair in read_records(part)]
    finally:
        path.unlink()
    assert [json.loads(text) for _, text in found] == records
    assert all(raw[offset : offset + len(text)] == text for offset, text in found)


def test_an_array_that_is_cut_off_gives_its_torn_element_and_not_silence(tmp_path: Path) -> None:
    whole = json.dumps([{"a": 1}, {"b": [1, 2]}])
    for end in range(2, len(whole)):
        path = tmp_path / f"{end}.json"
        path.write_text(whole[:end])
        [part] = plan_parts([path])
        texts = [text for _, text in read_records(part)]
        good = [text for text in texts if _is_json(text)]
        assert len(good) < len(texts), whole[:end]


def test_what_stands_between_two_elements_comes_out_too(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('[{"a": 1}, 17, {"b": 2}] tail')
    [part] = plan_parts([path])
    assert [text for _, text in read_records(part)] == [b'{"a": 1}', b", 17, ", b'{"b": 2}', b" tail"]


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    for name, text in (("a.jsonl", '{"a": 1}\n'), ("a.json", '[{"a": 1}]')):
        path = tmp_path / name
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
        [part] = plan_parts([path])
        [(offset, found)] = read_records(part)
        assert json.loads(found) == {"a": 1}
        assert path.read_bytes()[offset : offset + len(found)] == found


def test_the_content_says_array_or_lines_and_not_the_name(tmp_path: Path) -> None:
    array, lines = tmp_path / "a.jsonl", tmp_path / "b.json"
    array.write_text(' [{"a": 1}]')
    lines.write_text('{"a": 1}\n')
    assert is_array(array)
    assert not is_array(lines)


def test_an_empty_file_has_no_parts(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    assert plan_parts([path]) == []


def test_a_place_without_outcomes_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no"):
        input_files(tmp_path)
    with pytest.raises(InputError, match="there are no outcomes at"):
        input_files(tmp_path / "gone")


def test_a_summary_beside_the_shards_is_not_read_as_outcomes(tmp_path: Path) -> None:
    for name in ("shard-00001.jsonl", "shard-00000.jsonl", "summary.json", "shard-00002.jsonl.part"):
        (tmp_path / name).write_text("{}")
    assert [file.name for file in input_files(tmp_path)] == ["shard-00000.jsonl", "shard-00001.jsonl"]


def test_parts_have_names_of_their_own() -> None:
    parts = [Part("x/shard-00000.jsonl", at, at + 10, is_array=False) for at in (0, 10, 20)]
    assert len({part.name for part in parts}) == 3


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
