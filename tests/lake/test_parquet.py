from __future__ import annotations

import base64
import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.errors import InputError, ItemFailed
from millrace.lake import reader
from millrace.lake import rows as rows_module
from millrace.lake.images import REASONS
from millrace.lake.parquet import (
    BadRow,
    DecodedRow,
    ImageRef,
    LakeReader,
    LakeRow,
    check_lake,
    count_rows,
    lake_files,
    read_row,
    stream_images,
    stream_rows,
)
from tests.lake.pictures import encoded

Write = Callable[..., Path]
PNG = encoded()


def rows_of(file: Path, rows: list[int] | None = None) -> list[LakeRow]:
    found = list(stream_rows(file, rows))
    assert all(isinstance(row, LakeRow) for row in found), found
    return [row for row in found if isinstance(row, LakeRow)]


def test_the_originals_columns_are_read_as_they_are(write_table: Write) -> None:
    conversations = pa.array(
        [[{"assistant": "A ramp.", "usr": "What is it?"}]],
        pa.list_(pa.struct([("assistant", pa.string()), ("usr", pa.string())])),
    )
    (row,) = rows_of(write_table({"jpg": [PNG], "conversations": conversations}, name="train-7.parquet"))
    assert row.image_bytes == PNG
    assert row.ref.image_id == "train-7_0"
    assert (row.ref.file, row.ref.row, len(row.ref.sha256)) == ("train-7.parquet", 0, 16)
    assert row.metadata == {"conversations": [{"assistant": "A ramp.", "usr": "What is it?"}]}
    assert (row.annotation, row.path) == (None, None)


COLUMNS = {
    "binary": {"jpg": pa.array([PNG], pa.binary())},
    "large_binary": {"jpg": pa.array([PNG], pa.large_binary())},
    "binary_view": {"jpg": pa.array([PNG], pa.binary_view())},
    "list<uint8>": {"jpg": pa.array([list(PNG)], pa.list_(pa.uint8()))},
    "large_list<int64>": {"jpg": pa.array([list(PNG)], pa.large_list(pa.int64()))},
    "struct": {"jpg": pa.array([{"bytes": PNG, "path": "x.png"}])},
    "struct of list": {"jpg": pa.array([{"bytes": list(PNG)}], pa.struct([("bytes", pa.list_(pa.uint8()))]))},
    "dictionary": {"jpg": pa.array([PNG]).dictionary_encode()},
    "hugging face image": {
        "image": pa.array([{"bytes": PNG, "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    },
    **{name: {name: [base64.b64encode(PNG).decode()]} for name in ("image_base64", "image_b64", "base64")},
    "base64 as binary": {"jpg": pa.array([None], pa.binary()), "image_b64": [base64.b64encode(PNG).decode()]},
}


@pytest.mark.parametrize("columns", COLUMNS.values(), ids=COLUMNS.keys())
def test_every_kind_of_image_column_gives_the_same_bytes(write_table: Write, columns: dict[str, object]) -> None:
    (row,) = rows_of(write_table(columns))
    assert row.image_bytes == PNG


@pytest.mark.parametrize("column", ["image_path", "path", "file_path", "image_url"])
def test_a_path_column_is_read_from_beside_the_parquet_file(write_table: Write, tmp_path: Path, column: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "cat_17.png").write_bytes(PNG)
    file = write_table(
        {column: ["sub/cat_17.png", str(tmp_path / "sub" / "cat_17.png"), (tmp_path / "sub" / "cat_17.png").as_uri()]}
    )
    for row in rows_of(file):
        assert row.image_bytes == PNG
        assert row.ref.image_id == "cat_17"
        assert Path(row.path or "") == tmp_path / "sub" / "cat_17.png"


def test_bytes_win_over_a_path_and_the_path_still_names_the_image(write_table: Write) -> None:
    (row,) = rows_of(write_table({"jpg": [PNG], "image_path": ["elsewhere/dog_3.jpg"]}))
    assert (row.image_bytes, row.path, row.ref.image_id) == (PNG, None, "dog_3")


@pytest.mark.parametrize(("given_id", "expected"), [("a/b", "a/b"), (17, "17"), (None, "part_0"), ("", "part_0")])
def test_the_image_id_is_the_column_or_made_from_file_and_row(write_table: Write, given_id: object, expected: str) -> None:
    (row,) = rows_of(write_table({"jpg": [PNG], "image_id": pa.array([given_id])}))
    assert row.ref.image_id == expected


BAD = [
    ({"jpg": pa.array([None], pa.binary())}, "no_image"),
    ({"jpg": [b""]}, "no_image"),
    ({"image_url": ["https://example.org/cat.jpg"]}, "remote_image"),
    ({"image_path": ["s3://bucket/cat.jpg"]}, "remote_image"),
    ({"image_path": ["gone.jpg"]}, "missing_file"),
    ({"image_path": ["/dev/zero"]}, "missing_file"),
    ({"image_path": ["."]}, "missing_file"),
    ({"image_path": ["nul\0byte"]}, "missing_file"),
    ({"image_path": ["x" * 5000]}, "missing_file"),
    ({"image_base64": ["?!"]}, "bad_image_value"),
    ({"jpg": [17]}, "bad_image_value"),
    ({"jpg": [[1, 999]]}, "bad_image_value"),
]


@pytest.mark.parametrize(("columns", "reason"), BAD, ids=[f"{next(iter(columns))}-{reason}" for columns, reason in BAD])
def test_a_row_without_a_usable_image_comes_with_its_reason(write_table: Write, columns: dict[str, object], reason: str) -> None:
    (row,) = stream_rows(write_table(columns))
    assert isinstance(row, BadRow)
    assert row.reason == reason
    assert row.detail
    assert row.ref.row == 0


def test_a_spoilt_cell_does_not_hide_another_that_is_fine(write_table: Write) -> None:
    (row,) = rows_of(write_table({"jpg": [[1, 999]], "image_b64": [base64.b64encode(PNG).decode()]}))
    assert row.image_bytes == PNG


def test_as_many_rows_come_out_as_went_in(write_table: Write) -> None:
    cells = [PNG if number % 3 else None for number in range(100)]
    found = list(stream_rows(write_table({"jpg": pa.array(cells, pa.binary())}, row_group_size=17)))
    assert [row.ref.row for row in found] == list(range(100))
    assert [isinstance(row, BadRow) for row in found] == [cell is None for cell in cells]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 99), max_size=30), st.integers(1, 60))
def test_any_rows_can_be_asked_for(write_table: Write, wanted: list[int], group: int) -> None:
    file = write_table({"jpg": [PNG] * 100, "number": list(range(100))}, row_group_size=group)
    assert [row.metadata["number"] for row in rows_of(file, wanted)] == sorted(set(wanted))


def test_a_row_that_is_not_there_is_the_callers_mistake(write_table: Write) -> None:
    with pytest.raises(ValueError, match="2 rows"):
        list(stream_rows(write_table({"jpg": [PNG] * 2}), [2]))


def test_strange_metadata_does_not_cost_the_image(write_table: Write) -> None:
    columns = {
        "jpg": [PNG],
        "when": pa.array([2**62], pa.timestamp("us")),
        "scene": ["kitchen"],
        "label_map": ["not a map"],
        "nested": [{"a": [1]}],
    }
    (row,) = rows_of(write_table(columns))
    assert row.annotation is None
    assert row.metadata["nested"] == {"a": [1]}
    assert row.metadata["when"] == "unreadable timestamp[us]"


def test_a_damaged_row_group_costs_its_own_rows_only(write_table: Write) -> None:
    noise = np.random.default_rng(3).bytes(4000)
    cells = [PNG + noise + bytes([number]) for number in range(40)]
    file = write_table({"jpg": cells}, row_group_size=10, use_dictionary=False, compression="zstd")
    place = pq.ParquetFile(file).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(file.read_bytes())
    data[place + 8 : place + 2000] = b"\xff" * 1992
    file.write_bytes(data)
    found = list(stream_rows(file))
    assert [row.ref.row for row in found] == list(range(40))
    bad = [row for row in found if isinstance(row, BadRow)]
    assert {row.ref.row for row in bad} <= set(range(10, 20))
    assert bad
    assert {row.reason for row in bad} == {"unreadable_rows"}


def test_streamed_images_are_decoded_or_say_why_not(write_table: Write) -> None:
    big = encoded(size=(300, 300))
    found = list(stream_images(write_table({"jpg": [PNG, PNG[:60], b"hello", None, big]}), max_pixels=5000))
    assert isinstance(found[0], DecodedRow)
    assert found[0].image.size == (40, 30)
    reasons = [row.reason for row in found[1:] if isinstance(row, BadRow)]
    assert reasons == ["truncated_image", "not_an_image", "no_image", "image_too_large"]
    assert set(reasons) <= set(REASONS)


def test_a_missing_or_empty_lake_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no lake folder .*absent"):
        lake_files(tmp_path / "absent")
    with pytest.raises(InputError, match=r"holds no \.parquet file"):
        lake_files(tmp_path)
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"jpg": [PNG]}), tmp_path / "data" / "a.parquet")
    with pytest.raises(InputError, match=r"there are some in .*data"):
        lake_files(tmp_path)
    assert lake_files(tmp_path / "data") == [tmp_path / "data" / "a.parquet"]
    assert lake_files(tmp_path / "data" / "a.parquet") == [tmp_path / "data" / "a.parquet"]


def test_files_come_sorted_and_unfinished_ones_not_at_all(tmp_path: Path) -> None:
    for name in ("b.parquet", "a.parquet", ".c.parquet", "_d.parquet", "e.parquet.part"):
        pq.write_table(pa.table({"jpg": [PNG]}), tmp_path / name)
    assert [file.name for file in lake_files(tmp_path)] == ["a.parquet", "b.parquet"]


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"hello, this is text", b"PAR1" + b"\0" * 100 + b"PAR1"], ids=["empty", "short", "text", "hollow"]
)
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.parquet").write_bytes(content)
    for look in (count_rows, check_lake, lambda file: list(stream_rows(file))):
        with pytest.raises(InputError, match=r"bad\.parquet is not a readable parquet file") as caught:
            look(tmp_path / "bad.parquet")
        assert "\n" not in str(caught.value)


def test_a_check_tells_usable_files_from_unusable_ones(tmp_path: Path) -> None:
    pq.write_table(pa.table({"jpg": [PNG] * 3}), tmp_path / "good.parquet")
    pq.write_table(pa.table({"text": ["no image here"]}), tmp_path / "text.parquet")
    (tmp_path / "torn.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:-20])
    check = check_lake(tmp_path)
    assert (check.rows, [file.file.name for file in check.usable]) == (3, ["good.parquet"])
    assert [file.file.name for file in check.unusable] == ["text.parquet", "torn.parquet"]
    assert "no image column" in check.unusable[0].detail
    (tmp_path / "good.parquet").unlink()
    with pytest.raises(InputError, match="no file of the lake"):
        check_lake(tmp_path)


def test_a_lake_without_rows_is_refused(write_table: Write, tmp_path: Path) -> None:
    write_table({"jpg": pa.array([], pa.binary())})
    with pytest.raises(InputError, match="hold no rows"):
        check_lake(tmp_path)


def test_a_single_image_is_found_again_by_its_ref(scenes: Path) -> None:
    for file in lake_files(scenes):
        for row in rows_of(file):
            again = read_row(scenes, row.ref)
            assert again.image_bytes == row.image_bytes
            assert again.annotation == row.annotation


def test_large_row_groups_are_read_forward_and_back(write_table: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "KEPT_GROUP_BYTES", 0)
    file = write_table({"jpg": [PNG + bytes([number]) for number in range(200)]}, row_group_size=150)
    refs = [row.ref for row in rows_of(file)]
    lake = LakeReader(tmp_path)
    for number in [0, 1, 40, 149, 150, 199, 3, 160, 2]:
        assert lake.read(refs[number]).image_bytes[-1] == number


def test_a_changed_or_missing_image_is_noticed(write_table: Write, tmp_path: Path) -> None:
    (row,) = rows_of(write_table({"jpg": [PNG]}))
    assert read_row(tmp_path, row.ref).image_bytes == PNG
    write_table({"jpg": [PNG + b"\0"]})
    expected = [
        (row.ref, "image_changed"),
        (ImageRef("x", "part.parquet", 9, ""), "missing_file"),
        (ImageRef("x", "gone.parquet", 0, ""), "missing_file"),
    ]
    for ref, reason in expected:
        with pytest.raises(ItemFailed) as caught:
            read_row(tmp_path, ref)
        assert caught.value.reason == reason


MEASURE = """
import resource, sys
from pathlib import Path
from millrace.lake.parquet import stream_rows
file, count = Path(sys.argv[1]), 0
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
rows = stream_rows(file)
for row in rows:
    count += 1
    if count == 100: early = peak()
print(count, early, peak())
"""


@pytest.mark.parametrize("row_group_size", [200, 4000], ids=["many groups", "one giant group"])
def test_memory_does_not_grow_with_the_lake(tmp_path: Path, row_group_size: int) -> None:
    noise = np.random.default_rng(0)
    schema = pa.schema([("jpg", pa.binary()), ("caption", pa.string())])
    file = tmp_path / "big.parquet"
    with pq.ParquetWriter(file, schema, compression="none", use_dictionary=False) as writer:
        batches = (
            pa.table({"jpg": [noise.bytes(100_000) for _ in range(200)], "caption": ["a caption"] * 200}, schema=schema)
            for _ in range(20)
        )
        if row_group_size == 200:
            for batch in batches:
                writer.write_table(batch)
        else:
            writer.write_table(pa.concat_tables(list(batches)), row_group_size=row_group_size)
    gc.collect()
    assert file.stat().st_size > 390_000_000
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file)], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    count, early, late = map(int, out.stdout.split())
    assert count == 4000
    assert late - early < 60, f"grew from {early} to {late} MB while reading 400 MB"


def test_a_row_without_an_image_keeps_the_id_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image_id": ["cat", "dog"], "jpg": [b"", b"no image at all"]}), tmp_path / "a.parquet")
    rows = list(stream_rows(tmp_path / "a.parquet"))
    assert [row.ref.image_id for row in rows] == ["cat", "dog"]
    assert isinstance(rows[0], BadRow)


def test_an_image_that_is_asked_for_again_is_read_once_and_anew_when_its_file_changed(write_table: Write) -> None:
    file = write_table({"jpg": [PNG, encoded("L")], "image_id": ["a", "b"]})
    lake = LakeReader(file.parent)
    refs = [row.ref for row in rows_of(file)]
    first = lake.read(refs[0])
    assert lake.read(refs[1]).ref.image_id == "b"
    assert lake.read(refs[0]) is first
    write_table({"jpg": [encoded("L"), PNG], "image_id": ["a", "b"]})
    os.utime(file, ns=(1, 1))
    with pytest.raises(ItemFailed, match="image_changed"):
        lake.read(refs[0])


def test_an_image_named_by_path_is_read_once_however_often_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        (tmp_path / f"photo{number}.png").write_bytes(encoded(size=(40 + number, 30)))
    pq.write_table(pa.table({"image_path": [f"photo{number}.png" for number in range(3)]}), tmp_path / "lake.parquet")
    read: list[str] = []

    def counted(path: str | None, folder: Path) -> bytes:
        read.append(str(path))
        return read_file(path, folder)

    read_file = rows_module.read_file
    monkeypatch.setattr(rows_module, "read_file", counted)
    lake = LakeReader(tmp_path)
    for _ in range(4):
        for number in range(3):
            ref = ImageRef(f"photo{number}", "lake.parquet", number, "")
            assert lake.read(ref).image_bytes == (tmp_path / f"photo{number}.png").read_bytes()
    assert read == ["photo0.png", "photo1.png", "photo2.png"]


def test_an_image_in_a_file_of_its_own_that_changes_between_two_reads_is_noticed(tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(encoded())
    pq.write_table(pa.table({"image_path": ["photo.png"]}), tmp_path / "lake.parquet")
    lake = LakeReader(tmp_path)
    before = lake.read(ImageRef("photo", "lake.parquet", 0, ""))
    photo.write_bytes(encoded(size=(41, 30)))
    with pytest.raises(ItemFailed, match="other bytes than when it was recorded"):
        lake.read(before.ref)
    photo.unlink()
    with pytest.raises(ItemFailed, match="is not a file"):
        lake.read(before.ref)
