"""The annotation kind `boxes`: labelled boxes or outlines around things, as detection data sets have them.

A column `boxes` holds, as JSON text or as a list of structs, a list of things:

    [{"label": "cup", "box": [173, 18, 229, 267], "attributes": {"colour": "red"}},
     {"label": "saucer", "mask": [[78, 210, 150, 90, …]]}]

`box` is COCO's [x, y, width, height], `mask` COCO's list of polygons [x, y, x, y, …]; both in pixels of the picture as it is
shown (after EXIF). What a list of things leaves open can be told in a mapping instead, `{"things": […], "absent": ["dog"],
"incomplete": ["tree"]}`: labels that are surely not in the picture, and labels of which not every thing is in the list.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from millrace.errors import ItemFailed
from millrace.lake.annotations import Annotation, AnnotationKind
from millrace.plugins.loading import plugin_files

if TYPE_CHECKING:
    from millrace.lake.rows import LakeRow

NAME = "boxes"

Corners = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels."""


class Thing(msgspec.Struct, frozen=True):
    """One thing in a picture, as it was annotated."""

    label: str
    box: tuple[float, float, float, float] | None = None
    """[x, y, width, height]; None where there is a mask."""
    mask: tuple[tuple[float, ...], ...] | None = None
    """Polygons [x, y, x, y, …]."""
    attributes: dict[str, str] = {}
    """What else is known of it, as an adjective each: colour, size, material …"""

    @property
    def corners(self) -> Corners:
        """The box around it, from the mask where there is no box."""
        if self.box is not None:
            x, y, width, height = self.box
            return x, y, x + width, y + height
        points = [value for polygon in self.mask or () for value in polygon]
        return min(points[::2]), min(points[1::2]), max(points[::2]), max(points[1::2])


class Boxes(msgspec.Struct, frozen=True):
    """A picture's annotation."""

    things: tuple[Thing, ...]
    absent: tuple[str, ...] = ()
    """Labels of which the picture surely shows nothing."""
    incomplete: tuple[str, ...] = ()
    """Labels of which it may show more things than are listed."""


class Picture(NamedTuple):
    """An annotation with the size of its picture, in pixels."""

    boxes: Boxes
    width: int
    height: int


def read(cells: Mapping[str, Any]) -> Annotation | None:
    """The annotation in a row; None for a column `boxes` that holds something else (COCO's bare numbers, say)."""
    value = cells["boxes"]
    try:
        plain = msgspec.json.decode(value) if isinstance(value, str | bytes) else value
    except msgspec.DecodeError:
        return None
    things = plain.get("things") if isinstance(plain, dict) else plain
    if not isinstance(things, list) or not all(isinstance(thing, dict) and "label" in thing for thing in things):
        return None
    try:
        whole = plain if isinstance(plain, dict) else {"things": things}
        boxes = msgspec.convert(_without_gaps(whole), Boxes, strict=False)
    except msgspec.ValidationError as error:
        raise ItemFailed("bad_annotation", f"the column boxes cannot be read: {error}") from error
    for thing in boxes.things:
        _check(thing)
    both = {thing.label for thing in boxes.things} & set(boxes.absent)
    if both:
        raise ItemFailed("bad_annotation", f"'{sorted(both)[0]}' is said to be absent and has a box")
    return Annotation(NAME, msgspec.json.encode(boxes))


def _without_gaps(value: Any) -> Any:
    """Structs of a parquet column have every field of every row: those that are null were not there."""
    if isinstance(value, dict):
        return {key: _without_gaps(part) for key, part in value.items() if part is not None}
    return [_without_gaps(part) for part in value] if isinstance(value, list) else value


def _check(thing: Thing) -> None:
    if not thing.label.strip():
        raise ItemFailed("bad_annotation", "a thing has an empty label")
    if thing.box is None and not thing.mask:
        raise ItemFailed("bad_annotation", f"'{thing.label}' has neither a box nor a mask")
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in thing.mask or ()):
        raise ItemFailed("bad_annotation", f"'{thing.label}' has a mask that is no polygon (x, y, x, y, … of three points)")
    left, top, right, bottom = thing.corners
    if not (left < right and top < bottom):  # also refuses what is not a number
        raise ItemFailed("bad_annotation", f"'{thing.label}' has a box without an inside: {list(thing.corners)}")


def picture_of(row: LakeRow) -> Picture:
    """The annotation of a row that has one, with the size of its picture.

    Raises:
        ItemFailed: a box lies outside the picture ("bad_annotation"), or the picture cannot be read.
    """
    assert row.annotation is not None
    return _picture(row.annotation.data, row.image_bytes)


@lru_cache(maxsize=32)
def _picture(data: bytes, image: bytes) -> Picture:
    boxes = msgspec.json.decode(data, type=Boxes)
    width, height = _size(image)
    for thing in boxes.things:
        left, top, right, bottom = thing.corners
        if left < -1 or top < -1 or right > width + 1 or bottom > height + 1:  # rounding may put an edge a pixel outside
            raise ItemFailed("bad_annotation", f"'{thing.label}' at {list(thing.corners)} lies outside {width} x {height} pixels")
    return Picture(boxes, width, height)


def _size(image: bytes) -> tuple[int, int]:
    """Width and height as the picture is shown; from its head, without decoding a pixel."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image)) as opened:
            turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
            width, height = opened.size
    except (UnidentifiedImageError, OSError) as error:
        raise ItemFailed("not_an_image", str(error)) from error
    return (height, width) if turned else (width, height)


def own_pipelines() -> Mapping[str, Mapping[str, Any]]:
    """The question pipelines that kinds of claims bring along, under `pipelines` in their wordings."""
    from millrace.config import parse_yaml

    found: dict[str, Mapping[str, Any]] = {}
    for file in plugin_files("millrace.boxes.wordings", "yaml").values():
        found |= parse_yaml(file.read_text(encoding="utf-8")).get("pipelines", {})
    return found


FACTORS = {
    "small_thing": "a thing takes a hundredth of the picture or less",
    "large_thing": "a thing takes half of the picture or more",
    "many_things": "six things or more have a box",
    "overlapping": "boxes overlap",
}

KIND = AnnotationKind(
    ("boxes",),
    read,
    claims="millrace.boxes.claim_rules",
    questions="millrace.boxes.question_rules",
    pipelines=own_pipelines,
    factors=FACTORS,
)
