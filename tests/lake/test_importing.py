"""`millrace lake import`: every form in which people keep pictures becomes the same lake, and what does not is named."""

from __future__ import annotations

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from millrace.cli import main
from millrace.lake.copies import groups_of_copies, perceptual_hash, thumbnail_of
from millrace.lake.parquet import DecodedRow, LakeRow, lake_files, stream_images, stream_rows
from millrace.records.lake import ImportSummary, RejectedImage
from millrace.run.journal import read_record, read_records


def picture(number: int, size: tuple[int, int] = (96, 72)) -> Image.Image:
    """A picture of its own kind for each number: blobs at random places."""
    rng = np.random.default_rng(number)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def imported(out: Path, *sources: Path, arguments: tuple[str, ...] = ()) -> ImportSummary:
    assert main(["lake", "import", *map(str, sources), "--out", str(out), *arguments]) == 0
    return read_record(out / "import.json", ImportSummary)


def rows(lake: Path) -> list[LakeRow]:
    found = [row for file in lake_files(lake) for row in stream_rows(file, lake=lake)]
    assert all(isinstance(row, LakeRow) for row in found)
    return found  # type: ignore[return-value]


def rejected(lake: Path) -> dict[str, RejectedImage]:
    return {one.name: one for one in read_records(lake / "rejected.jsonl", RejectedImage)}


def folder_of(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_a_folder_of_pictures_becomes_a_lake_with_their_bytes_as_they_were(tmp_path: Path) -> None:
    kinds = {"a.jpg": "JPEG", "deep/er/b.png": "PNG", "c.WEBP": "WEBP", "d.tif": "TIFF", "e.gif": "GIF", "f.bmp": "BMP"}
    files = {name: encoded(picture(number), kind) for number, (name, kind) in enumerate(kinds.items())}
    source = folder_of(tmp_path / "photos", {**files, "notes.txt": b"x", ".hidden.jpg": b"x", "__MACOSX/a.jpg": b"x"})
    summary = imported(tmp_path / "lake", source)
    assert (summary.images, summary.rejected, summary.left_aside) == (6, {}, {".txt": 1})
    assert {row.metadata["image_path"]: row.image_bytes for row in rows(tmp_path / "lake")} == files
    decoded = [row for file in lake_files(tmp_path / "lake") for row in stream_images(file)]
    assert all(isinstance(row, DecodedRow) for row in decoded)


def test_an_id_is_recognised_is_a_files_name_and_is_nobody_elses(tmp_path: Path) -> None:
    names = ["cats/IMG 01.jpg", "dogs/IMG 01.jpg", "ünï/猫.png", "--.jpg.png", "x" * 200 + ".png"]
    source = folder_of(tmp_path / "photos", {name: encoded(picture(number)) for number, name in enumerate(names)})
    imported(tmp_path / "lake", source)
    ids = [row.ref.image_id for row in rows(tmp_path / "lake")]
    assert len(set(ids)) == len(names)
    assert any(image_id.startswith("cats-IMG-01-") for image_id in ids)
    assert all("/" not in image_id and not image_id.startswith((".", "-")) and len(image_id) < 100 for image_id in ids)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_an_archive_gives_the_pictures_of_the_folder_that_it_holds(kind: str, tmp_path: Path) -> None:
    files = {f"photos/{number}.png": encoded(picture(number)) for number in range(5)}
    archive = tmp_path / f"photos.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as out:
            for name, data in files.items():
                out.writestr(name, data)
    else:
        write_tar(archive, files)
    summary = imported(tmp_path / "lake", archive)
    assert summary.images == 5
    assert {
        row.metadata["image_path"].removeprefix(f"{archive.name}/"): row.image_bytes for row in rows(tmp_path / "lake")
    } == files


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as out:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            out.addfile(member, io.BytesIO(data))


def test_webdataset_members_of_one_name_belong_together(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for number in range(3):
        files[f"{number:06d}.jpg"] = encoded(picture(number), "JPEG")
        files[f"{number:06d}.json"] = json.dumps({"source": "camera", "number": number}).encode()
        files[f"{number:06d}.txt"] = f"picture {number}\n".encode()
        files[f"{number:06d}.cls"] = b"7"
    folder = tmp_path / "shards"
    folder.mkdir()
    write_tar(folder / "shard-0000.tar", files)
    imported(tmp_path / "lake", folder)
    found = sorted(rows(tmp_path / "lake"), key=lambda row: row.metadata["number"])
    assert [(row.metadata["text"], row.metadata["source"], row.metadata["label"]) for row in found] == [
        (f"picture {number}", "camera", "7") for number in range(3)
    ]


def test_the_hubs_layout_keeps_its_columns(tmp_path: Path) -> None:
    data = tmp_path / "repo" / "data"
    data.mkdir(parents=True)
    for split, numbers in {"train": (0, 1), "test": (2,)}.items():
        table = pa.table(
            {
                "image": [{"bytes": encoded(picture(number)), "path": f"{number}.png"} for number in numbers],
                "caption": [f"caption {number}" for number in numbers],
                "objects": [{"bbox": [[1.0, 2.0]], "n": number} for number in numbers],
            }
        )
        pq.write_table(table, data / f"{split}-00000-of-00001.parquet")
    folder_of(tmp_path / "repo", {"README.md": b"# card"})
    summary = imported(tmp_path / "lake", tmp_path / "repo")
    assert (summary.images, summary.left_aside) == (3, {".md": 1})
    assert {row.metadata["caption"] for row in rows(tmp_path / "lake")} == {"caption 0", "caption 1", "caption 2"}


def test_a_data_set_saved_to_disk_is_read_by_what_its_own_library_wrote(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"image": [picture(number) for number in range(4)], "caption": list("abcd")})
    made = made.cast_column("image", datasets.Image())
    both = datasets.DatasetDict({"train": made.select([0, 2, 3]), "test": made.select([1])})
    both.save_to_disk(str(tmp_path / "saved"))
    summary = imported(tmp_path / "lake", tmp_path / "saved")
    assert summary.images == 4
    assert {row.metadata["caption"] for row in rows(tmp_path / "lake")} == set("abcd")


def test_a_coco_like_boxes_column_goes_through(tmp_path: Path) -> None:
    boxes = json.dumps([{"label": "cup", "box": [1, 2, 30, 40]}])
    pq.write_table(pa.table({"jpg": [encoded(picture(1))], "boxes": [boxes]}), tmp_path / "rows.parquet")
    imported(tmp_path / "lake", tmp_path / "rows.parquet")
    (row,) = rows(tmp_path / "lake")
    assert row.annotation is not None
    assert row.annotation.kind == "boxes"


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_a_metadata_file_gives_its_columns(kind: str, tmp_path: Path) -> None:
    told = b'{"file_name": "a.png", "text": "one, two"}\n' if kind == "jsonl" else b'file_name,text\na.png,"one, two"\n'
    source = folder_of(tmp_path / "photos", {"a.png": encoded(picture(1)), f"metadata.{kind}": told})
    imported(tmp_path / "lake", source)
    assert rows(tmp_path / "lake")[0].metadata["text"] == "one, two"


def test_a_wrong_line_of_a_metadata_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = b'{"file_name": "a.png"}\n{"file": "b.png"}\n'
    source = folder_of(tmp_path / "photos", {"a.png": encoded(picture(1)), "metadata.jsonl": told})
    assert main(["lake", "import", str(source), "--out", str(tmp_path / "lake")]) == 2
    assert "metadata.jsonl, line 2" in capsys.readouterr().err
    assert not (tmp_path / "lake").exists()


HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + b"\0" * 100


@pytest.mark.parametrize(
    ("name", "data", "reason", "words"),
    [
        ("a.heic", HEIC, "not_an_image", "HEIC"),
        ("a.jpg", HEIC, "not_an_image", "HEIC"),
        ("a.jpg", b"<!DOCTYPE html><html>not found</html>", "not_an_image", "a web page"),
        ("a.png", b'<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "not_an_image", "SVG"),
        ("a.jpg", b"\x00\x00\x00\x20ftypisom" + b"\0" * 50, "not_an_image", "a video"),
        ("a.jxl", b"\xff\x0a" + b"\0" * 50, "not_an_image", "JPEG XL"),
        ("a.jpg", b"%PDF-1.7", "not_an_image", "PDF"),
        ("a.jpg", b"", "no_image", "empty"),
        ("a.jpg", encoded(picture(1, (400, 300)), "JPEG")[:2000], "truncated_image", ""),
    ],
)
def test_what_is_no_picture_is_named_with_its_reason(name: str, data: bytes, reason: str, words: str, tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos", {name: data, "good.png": encoded(picture(2))})
    summary = imported(tmp_path / "lake", source)
    assert (summary.images, summary.rejected) == (1, {reason: 1})
    assert words in rejected(tmp_path / "lake")[name].detail


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos", {"good.png": encoded(picture(2))})
    os.mkfifo(source / "pipe.jpg")
    (source / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (source / "loop").symlink_to(source)
    summary = imported(tmp_path / "lake", source)
    assert (summary.images, summary.rejected) == (1, {"missing_file": 2})


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip", "parquet", "arrow"])
def test_a_damaged_archive_gives_what_stands_before_the_damage_and_says_so(kind: str, tmp_path: Path) -> None:
    archive = tmp_path / "source" / f"photos.{kind}"
    archive.parent.mkdir()
    files = {f"{number}.png": encoded(picture(number, (200, 200))) for number in range(6)}
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as out:
            for name, data in files.items():
                out.writestr(name, data)
    elif kind == "parquet":
        pq.write_table(pa.table({"jpg": list(files.values())}), archive)
    elif kind == "arrow":
        table = pa.table({"jpg": list(files.values())})
        with pa.OSFile(str(archive), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as stream:
            for batch in table.to_batches(max_chunksize=1):
                stream.write_batch(batch)
    else:
        write_tar(archive, files)
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size * 2 // 3])
    folder_of(archive.parent, {"z.png": encoded(picture(99))})
    summary = imported(tmp_path / "lake", archive.parent)
    assert sum(summary.rejected.values()) == 1
    assert next(iter(rejected(tmp_path / "lake"))) == archive.name
    assert summary.images >= (1 if kind in {"zip", "parquet"} else 2)


def test_an_encrypted_or_lying_zip_member_costs_itself_only(tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as out:
        for number in range(3):
            out.writestr(f"{number}.png", encoded(picture(number)))
    data = bytearray(archive.read_bytes())
    place = data.index(b"\x89PNG", data.index(b"1.png"))
    data[place + 40] ^= 0xFF  # the checksum of the second no longer fits
    archive.write_bytes(bytes(data))
    summary = imported(tmp_path / "lake", archive)
    assert (summary.images, summary.rejected) == (2, {"damaged_archive": 1})


def test_the_same_file_is_kept_once_and_near_copies_share_a_group(tmp_path: Path) -> None:
    one, other = picture(1, (320, 240)), picture(2, (320, 240))
    files = {
        "one.png": encoded(one),
        "one again.png": encoded(one),
        "one small.jpg": encoded(one.resize((160, 120)), "JPEG", quality=60),
        "one.webp": encoded(one, "WEBP", quality=70),
        "other.png": encoded(other),
    }
    summary = imported(tmp_path / "lake", folder_of(tmp_path / "photos", files))
    assert (summary.images, summary.copies, summary.copy_groups, summary.same_file) == (4, 3, 1, 1)
    groups = {row.metadata["image_path"]: row.copy_group for row in rows(tmp_path / "lake")}
    assert groups["other.png"] is None
    assert len({groups[name] for name in files if name.startswith("one") and name in groups}) == 1
    dropped = imported(tmp_path / "dropped", tmp_path / "photos", arguments=("--copies", "drop"))
    assert (dropped.images, dropped.rejected) == (2, {"copy": 2, "same_file": 1})
    assert {row.metadata["image_path"] for row in rows(tmp_path / "dropped")} == {"one again.png", "other.png"}
    kept = imported(tmp_path / "kept", tmp_path / "photos", arguments=("--copies", "keep"))
    assert (kept.images, kept.copy_groups) == (4, 0)


def test_copies_of_copies_are_one_group_in_whatever_order_they_come() -> None:
    """A picture that is near to two which are not near to each other joins them."""
    base = np.asarray(picture(3, (128, 128)), dtype=np.float64)
    steps = [Image.fromarray(np.clip(base + change, 0, 255).astype(np.uint8)) for change in (0, 34, 17)]
    others = [picture(number, (128, 128)) for number in (10, 11)]
    images = [steps[0], others[0], steps[1], others[1], steps[2]]
    first = groups_of_copies([perceptual_hash(one) for one in images], [thumbnail_of(one) for one in images])
    assert first.tolist() == [0, 1, 0, 3, 0]


def test_a_thousand_pictures_of_one_colour_are_one_group_at_once() -> None:
    image = Image.new("RGB", (32, 32), "white")
    first = groups_of_copies([perceptual_hash(image)] * 3000, [thumbnail_of(image)] * 3000)
    assert set(first.tolist()) == {0}


def test_the_lake_has_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos", {f"{number}.png": encoded(picture(number)) for number in range(40)})
    for workers in ("1", "5"):
        imported(tmp_path / workers, source, arguments=("--workers", workers))
    contents = [{file.name: file.read_bytes() for file in sorted((tmp_path / workers).iterdir())} for workers in ("1", "5")]
    assert contents[0] == contents[1]


def test_columns_of_several_kinds_become_text_and_a_source_cannot_name_ours(tmp_path: Path) -> None:
    lines = [{"file_name": "0.png", "tag": "a", "image_id": "x", "copy_group": "x"}, {"file_name": "1.png", "tag": {"b": [1]}}]
    told = "\n".join(map(json.dumps, lines)).encode()
    files = {f"{number}.png": encoded(picture(number)) for number in range(2)}
    imported(tmp_path / "lake", folder_of(tmp_path / "photos", {**files, "metadata.jsonl": told}))
    found = rows(tmp_path / "lake")
    assert [row.metadata["tag"] for row in found] == ['"a"', '{"b":[1]}']
    assert all(row.copy_group is None and row.ref.image_id != "x" for row in found)


def test_a_folder_that_is_there_is_never_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = folder_of(tmp_path / "photos", {"a.png": encoded(picture(1))})
    folder_of(tmp_path / "lake", {"mine.txt": b"precious"})
    assert main(["lake", "import", str(source), "--out", str(tmp_path / "lake")]) == 2
    assert "is not empty; choose another --out" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "lake").iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_taken_and_what_a_killed_import_left_is_no_trouble(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "photos", {"a.png": encoded(picture(1))})
    (tmp_path / "lake").mkdir()
    folder_of(tmp_path / ".lake.building", {"lake-00000.parquet": b"half"})
    assert imported(tmp_path / "lake", source).images == 1
    assert not (tmp_path / ".lake.building").exists()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "there is no picture"),
        ({"a.txt": b"x", "b.txt": b"y", "c.md": b"z"}, "it holds 2 .txt, 1 .md"),
        ({"a.jpg": b"x"}, "no picture can be used: a.jpg"),
    ],
)
def test_without_a_picture_the_command_ends_with_2_and_leaves_nothing(
    files: dict[str, bytes], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = folder_of(tmp_path / "photos", files)
    source.mkdir(exist_ok=True)
    assert main(["lake", "import", str(source), "--out", str(tmp_path / "lake")]) == 2
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


def test_a_source_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lake", "import", str(tmp_path / "no"), "--out", str(tmp_path / "lake")]) == 2
    assert f"there is no file or folder {tmp_path / 'no'}" in capsys.readouterr().err
