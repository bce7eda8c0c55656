"""What counts as an annotation of boxes, in which forms, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from millrace.boxes.annotation import picture_of, read
from millrace.boxes.from_coco import main
from millrace.errors import ItemFailed
from millrace.lake.parquet import BadRow, LakeRow, stream_rows
from tests.boxes.pictures import blank, row, thing

Write = Callable[..., Path]
CUP = {"label": "cup", "box": [10, 20, 30, 40]}


def one_row(file: Path) -> LakeRow | BadRow:
    (found,) = stream_rows(file)
    return found


@pytest.mark.parametrize("cell", [json.dumps([CUP]), [CUP], json.dumps({"things": [CUP]}).encode()])
def test_a_list_of_things_is_read_from_text_and_from_structs(write_table: Write, cell: Any) -> None:
    found = one_row(write_table({"jpg": [blank()], "boxes": [cell]}))
    assert isinstance(found, LakeRow)
    assert found.annotation is not None
    (cup,) = picture_of(found).boxes.things
    assert (cup.label, cup.corners) == ("cup", (10, 20, 40, 60))
    assert "boxes" not in found.metadata


def test_a_mask_stands_for_its_own_box() -> None:
    told = row({"label": "leaf", "mask": [[10, 10, 50, 30, 20, 60]]})
    assert picture_of(told).boxes.things[0].corners == (10, 10, 50, 60)


@pytest.mark.parametrize("cell", ["[[1, 2, 3, 4]]", "kitchen", "{}", "[1, 2]", None])
def test_a_column_of_the_same_name_with_something_else_in_it_is_no_annotation(cell: Any) -> None:
    assert read({"boxes": cell}) is None


@pytest.mark.parametrize(
    ("things", "words"),
    [
        ([{"label": "cup"}], "neither a box nor a mask"),
        ([{"label": " ", "box": [1, 1, 2, 2]}], "empty label"),
        ([{"label": "cup", "box": [1, 1, -2, 2]}], "without an inside"),
        ([{"label": "cup", "box": [1, 1, 0, 2]}], "without an inside"),
        ([{"label": "cup", "box": [1, 1, 2]}], "cannot be read"),
        ([{"label": "cup", "mask": [[1, 2, 3, 4]]}], "no polygon"),
    ],
)
def test_a_broken_box_costs_its_row_with_the_reason(write_table: Write, things: list[dict[str, Any]], words: str) -> None:
    found = one_row(write_table({"jpg": [blank()], "boxes": [json.dumps(things)]}))
    assert isinstance(found, BadRow)
    assert found.reason == "bad_annotation"
    assert words in found.detail


def test_a_label_can_not_be_there_and_absent() -> None:
    with pytest.raises(ItemFailed, match="said to be absent"):
        row(thing("cup", 100, 100), absent=("cup",))


def test_a_box_outside_the_picture_is_refused_and_one_of_a_turned_photograph_is_not(write_table: Write) -> None:
    with pytest.raises(ItemFailed, match="lies outside 600 x 300"):
        picture_of(row(thing("cup", 700, 100)))
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter: 300 wide and 600 high
    Image.fromarray(np.full((300, 600, 3), 200, np.uint8)).save(out, "JPEG", exif=exif)
    found = one_row(write_table({"jpg": [out.getvalue()], "boxes": [json.dumps([{"label": "cup", "box": [10, 500, 50, 60]}])]}))
    assert isinstance(found, LakeRow)
    assert (picture_of(found).width, picture_of(found).height) == (300, 600)


def test_a_coco_file_becomes_a_lake_whose_other_categories_are_absent(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "one.png").write_bytes(blank())
    told = {
        "categories": [{"id": 3, "name": "cup"}, {"id": 5, "name": "dog"}, {"id": 9, "name": "tree"}],
        "images": [{"id": 7, "file_name": "one.png", "not_exhaustive_category_ids": [9]}],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [10, 10, 50, 50], "iscrowd": 0},
            {"image_id": 7, "category_id": 3, "bbox": [90, 10, 50, 50], "iscrowd": 1, "segmentation": {"counts": "RLE"}},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(told))
    assert main([str(tmp_path / name) for name in ("coco.json", "images", "lake")]) == 0
    found = one_row(tmp_path / "lake" / "lake-00000.parquet")
    assert isinstance(found, LakeRow)
    boxes = picture_of(found).boxes
    assert (boxes.absent, boxes.incomplete) == (("dog",), ("tree",))
    assert [one.attributes for one in boxes.things] == [{}, {"iscrowd": "1"}]
    assert main([str(tmp_path / "coco.json"), str(tmp_path), str(tmp_path / "other")]) == 1  # no such image there
