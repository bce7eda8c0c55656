"""A detection data set in COCO's format as a lake of images with boxes.

    python -m millrace.boxes.from_coco instances_val.json images/ lake/

Of categories that an image has no box of, COCO says that they are not there: they become `absent`. With `--not-exhaustive`
nothing is taken to be absent (a data set in which not everything is annotated); a category named by `--incomplete` is one of
which not every thing has a box. An image's own `neg_category_ids` and `not_exhaustive_category_ids` (LVIS) count before these.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.errors import InputError, MillraceError
from millrace.run.ids import content_id

SCHEMA = pa.schema([("image_id", pa.string()), ("image_path", pa.string()), ("jpg", pa.binary()), ("boxes", pa.string())])
ROWS_PER_FILE = 1000


class Category(msgspec.Struct):
    """A kind of things."""

    id: int
    name: str


class Instance(msgspec.Struct):
    """One thing in an image."""

    image_id: int | str
    category_id: int
    bbox: list[float]
    """[x, y, width, height] in pixels."""
    segmentation: list[list[float]] | dict[str, object] | None = None
    """Polygons; a run-length mask is left aside."""
    iscrowd: int = 0
    attributes: dict[str, object] = {}


class CocoImage(msgspec.Struct):
    """One image's file."""

    id: int | str
    file_name: str
    neg_category_ids: list[int] | None = None
    not_exhaustive_category_ids: list[int] = []


class Coco(msgspec.Struct):
    """A file of COCO's instance annotations, as far as it is read."""

    categories: list[Category]
    annotations: list[Instance]
    images: list[CocoImage]


class CocoRow(TypedDict):
    """A row of the lake."""

    image_id: str
    image_path: str
    jpg: bytes | None
    boxes: str


class BoxedThing(TypedDict):
    """One thing as the column `boxes` has it."""

    label: str
    box: list[float]
    mask: NotRequired[list[list[float]]]
    attributes: NotRequired[dict[str, str]]


def rows_of(
    content: object, images: Path, *, exhaustive: bool = True, incomplete: Sequence[str] = (), embed: bool = True
) -> list[CocoRow]:
    """The lake's rows, in the order of the file's images; with their bytes (`embed`) or with the path of their files alone.

    Args:
        content: what the JSON file says.
        images: the folder of images.
        exhaustive: an image shows nothing of a category that it has no box of.
        incomplete: categories of which an image may show more than has a box.
        embed: put the image's bytes into its row.

    Raises:
        InputError: an image's file is not there, or the file is not COCO's.
    """
    try:
        told = msgspec.convert(content, Coco)
        names = {category.id: category.name for category in told.categories}
        things = defaultdict(list)
        for instance in told.annotations:
            things[instance.image_id].append(_thing(instance, names))
        rows = [_row(image, things[image.id], names, images, exhaustive, incomplete) for image in told.images]
    except (KeyError, msgspec.ValidationError) as error:
        raise InputError(f"this is no file of COCO's instance annotations: {type(error).__name__} {error}") from error
    for row in rows if not embed else ():
        row["jpg"] = None
    return rows


def _thing(instance: Instance, names: dict[int, str]) -> BoxedThing:
    thing: BoxedThing = {"label": names[instance.category_id], "box": instance.bbox}
    if isinstance(instance.segmentation, list) and instance.segmentation:
        thing["mask"] = instance.segmentation
    attributes = {key: str(value) for key, value in instance.attributes.items()}
    if instance.iscrowd:
        attributes["iscrowd"] = "1"
    if attributes:
        thing["attributes"] = attributes
    return thing


def _row(
    image: CocoImage, things: list[BoxedThing], names: dict[int, str], images: Path, exhaustive: bool, incomplete: Sequence[str]
) -> CocoRow:
    file = images / image.file_name
    if not file.is_file():
        raise InputError(f"there is no image {file}")
    data = file.read_bytes()
    shown = {thing["label"] for thing in things}
    partly = sorted({*incomplete, *(names[number] for number in image.not_exhaustive_category_ids)})
    if image.neg_category_ids is not None:
        absent = [names[number] for number in image.neg_category_ids]
    else:
        absent = [name for name in names.values() if exhaustive and name not in shown and name not in partly]
    told = {"things": things, "absent": sorted(absent), "incomplete": partly}
    return {
        "image_id": content_id("img", data.hex()),
        "image_path": image.file_name,
        "jpg": data,
        "boxes": json.dumps(told, ensure_ascii=False),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m millrace.boxes.from_coco", description="COCO annotations as a lake.")
    parser.add_argument("annotations", type=Path, help="COCO's JSON file of instances")
    parser.add_argument("images", type=Path, help="the folder of images")
    parser.add_argument("lake", type=Path, help="the folder to write")
    parser.add_argument("--not-exhaustive", action="store_true", help="a category without a box may still be in the image")
    parser.add_argument("--paths", action="store_true", help="name the images, which must lie in the lake's folder, by path")
    parser.add_argument("--incomplete", action="append", default=[], help="a category of which not every thing has a box")
    told = parser.parse_args(arguments)
    try:
        content = json.loads(told.annotations.read_text(encoding="utf-8"))
        exhaustive = not told.not_exhaustive
        rows = rows_of(content, told.images, exhaustive=exhaustive, incomplete=told.incomplete, embed=not told.paths)
        told.lake.mkdir(parents=True, exist_ok=True)
        for number, start in enumerate(range(0, len(rows), ROWS_PER_FILE)):
            table = pa.Table.from_pylist(rows[start : start + ROWS_PER_FILE], schema=SCHEMA)
            pq.write_table(table, told.lake / f"lake-{number:05d}.parquet", row_group_size=64, compression="none")
    except (MillraceError, OSError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
