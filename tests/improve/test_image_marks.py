"""A test image that is in training is found, also stored anew; other pictures are not mistaken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from millrace.errors import InputError
from millrace.improve.image_marks import find_leaks, mark_file, read_marks, refuse_leaks
from millrace.records.improve import ImageMark
from tests.improve.fake_world import picture, stored, write_lake


def marks(folder: Path, pictures: dict[str, bytes]) -> list[ImageMark]:
    lake = write_lake(folder, pictures)
    return read_marks([mark_file(lake / "lake-00000.parquet", None, lake, folder / "marks.jsonl")])


@pytest.fixture
def pool(tmp_path: Path) -> list[ImageMark]:
    return marks(tmp_path / "pool", {f"pool_{number}": stored(picture(number)) for number in range(40)})


def resized(image: Image.Image, share: float) -> Image.Image:
    return image.resize((int(image.width * share), int(image.height * share)))


@pytest.mark.parametrize(
    "copy",
    [
        stored(picture(7)),
        stored(picture(7), "JPEG", quality=40),
        stored(picture(7), "WEBP", quality=50),
        stored(resized(picture(7), 0.5)),
        stored(resized(picture(7), 2.0), "JPEG", quality=60),
        stored(resized(picture(7), 0.6), "JPEG", quality=50),
    ],
    ids=["the file", "jpeg", "webp", "smaller", "larger and jpeg", "smaller and jpeg"],
)
def test_a_copy_of_a_probed_image_is_found_however_it_is_stored(tmp_path: Path, pool: list[ImageMark], copy: bytes) -> None:
    test = marks(tmp_path / "test", {"fresh": stored(picture(500)), "copy": copy})
    assert [(leak.one.image_id, leak.other.image_id) for leak in find_leaks(test, pool)] == [("copy", "pool_7")]


def test_other_pictures_are_no_copies(tmp_path: Path, pool: list[ImageMark]) -> None:
    assert find_leaks(marks(tmp_path / "test", {str(n): stored(picture(n)) for n in range(100, 300)}), pool) == []


def test_a_leak_is_refused_with_both_names(tmp_path: Path, pool: list[ImageMark]) -> None:
    test = marks(tmp_path / "test", {"copy": stored(picture(7), "JPEG", quality=40)})
    with pytest.raises(InputError, match=r"test image copy .* nearly the same picture as the probed image pool_7"):
        refuse_leaks(test, pool)


def test_an_image_that_cannot_be_decoded_has_no_mark(tmp_path: Path) -> None:
    found = marks(tmp_path, {"good": stored(picture(1)), "bad": b"\x89PNG nothing"})
    assert [mark.image_id for mark in found] == ["good"]
