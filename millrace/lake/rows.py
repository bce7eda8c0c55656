"""One row of a parquet file as a record: which cell is the image, what its id is, and what else the row says.

What counts as an image is decided by the column's name, as the original pipeline did: see `BYTES_COLUMNS`, `BASE64_COLUMNS` and
`PATH_COLUMNS`. Everything else in a row is kept as metadata.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from millrace.errors import ItemFailed
from millrace.lake.annotations import ANY, Annotation, annotation_columns, read_annotation
from millrace.lake.images import MAX_BYTES, REASONS, image_bytes
from millrace.records.lake import ImageRef

BYTES_COLUMNS = ("jpg", "image", "image_bytes")
"""Columns that hold an encoded image: binary, list<uint8>, or a struct with `bytes`. `jpg` first, as the original has it."""

BASE64_COLUMNS = ("image_base64", "image_b64", "base64")
"""Columns that hold one as base64 text."""

PATH_COLUMNS = ("image_path", "path", "file_path", "image_url")
"""Columns that name a file, used when a row has no bytes. A relative path starts at the folder of the parquet file."""

IMAGE_COLUMNS = (*BYTES_COLUMNS, *BASE64_COLUMNS, *PATH_COLUMNS)

COPY_GROUP = "copy_group"
"""The column that near copies of one picture share: a dataset's splits keep them together."""

NOT_METADATA = frozenset({"image_id", COPY_GROUP, *BYTES_COLUMNS, *BASE64_COLUMNS})
"""Columns that are kept elsewhere, as are those of annotations."""

_PATH_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jp2")


class LakeRow(msgspec.Struct, frozen=True):
    """One row with an image, still encoded."""

    ref: ImageRef
    image_bytes: bytes
    path: str | None
    """The image file, where the row named one instead of holding bytes."""
    annotation: Annotation | None
    """What is known about the picture, where the lake has it in a form that some kind of annotation reads."""
    metadata: dict[str, Any]
    """Every other column, `conversations` among them."""
    copy_group: str | None = None
    """What the picture shares with its near copies; None where it has none."""


class BadRow(msgspec.Struct, frozen=True):
    """One row without a usable image: it becomes a record with its reason."""

    ref: ImageRef
    reason: str
    """A key of `millrace.lake.images.REASONS`."""
    detail: str


def row_of(batch: pa.RecordBatch, index: int, *, file: Path, name: str, row: int, annotation: str = ANY) -> LakeRow | BadRow:
    """Row `index` of `batch` as a record; refs call its file `name` and its number in it `row`. Raises nothing.

    `annotation` names the kind that is looked for (`millrace.lake.annotations`).
    """
    image_id = f"{file.stem}_{row}"
    try:
        cells = {column: batch.column(place)[index] for place, column in enumerate(batch.schema.names)}
        path = next((text for column in PATH_COLUMNS if (text := _text(cells.get(column)))), None)
        image_id = _text(cells.get("image_id")) or (Path(path).stem if path else "") or image_id
        data, source = _image_of(cells, path, file.parent)
        path = path or source
        image_id = _text(cells.get("image_id")) or (Path(path).stem if path else "") or image_id
        if data is None:
            data = read_file(source, file.parent)
        metadata = cells.keys() - NOT_METADATA - annotation_columns(annotation)
        return LakeRow(
            ref=ImageRef(image_id, name, row, sha256(data).hexdigest()[:16]),
            image_bytes=data,
            path=None if source is None else str(_resolve(source, file.parent)),
            annotation=read_annotation(lambda column: _value(cells.get(column)), annotation),
            metadata={column: _metadata(cell) for column, cell in cells.items() if column in metadata},
            copy_group=_text(cells.get(COPY_GROUP)) or None,
        )
    except ItemFailed as failure:
        return BadRow(ImageRef(image_id, name, row, ""), failure.reason, failure.detail)
    except Exception as error:  # noqa: BLE001 - whatever a cell holds, a row that cannot be understood is a record, not a crash
        return BadRow(ImageRef(image_id, name, row, ""), "unreadable_rows", f"{type(error).__name__}: {error}")


def _image_of(cells: dict[str, pa.Scalar], path: str | None, folder: Path) -> tuple[bytes | None, str | None]:
    """(bytes, None) or (None, path). A cell that is no image counts only if no other cell of the row is one."""
    problem: ItemFailed | None = None
    for column in (*BYTES_COLUMNS, *BASE64_COLUMNS):
        value = _plain(cells.get(column))
        if isinstance(value, str) and column in BYTES_COLUMNS and value.lower().endswith(_PATH_ENDINGS):
            path = path or value
            continue
        try:
            data = image_bytes(value)
        except ItemFailed as failure:
            problem = problem or failure
            continue
        if data is not None:
            return data, None
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            path = path or value["path"]
    if path:
        return None, path
    raise problem or ItemFailed("no_image", REASONS["no_image"])


def _resolve(path: str, folder: Path) -> Path:
    scheme, sign, rest = path.partition("://")
    return folder / (rest if sign and scheme.lower() == "file" else path)


def read_file(path: str | None, folder: Path) -> bytes:
    """The bytes of an image file; a relative path starts at `folder`.

    Raises:
        ItemFailed: it is not there, no regular file, empty, too large, or on another machine.
    """
    assert path is not None
    scheme, sign, _ = path.partition("://")
    if sign and scheme.lower() != "file":
        raise ItemFailed("remote_image", f"{path[:200]} is not downloaded; put the bytes into a column `jpg`")
    file = _resolve(path, folder)
    try:
        if not file.is_file():  # also refuses devices and pipes, which could block for ever
            raise ItemFailed("missing_file", f"{file} is not a file")
        if (size := file.stat().st_size) > MAX_BYTES:
            raise ItemFailed("image_too_large", f"{file} has {size:,} bytes, {MAX_BYTES:,} allowed")
        data = file.read_bytes()
    except (OSError, ValueError) as error:
        raise ItemFailed("missing_file", f"{file}: {error}") from error
    if not data:
        raise ItemFailed("no_image", f"{file} is empty")
    return data


def _plain(cell: Any) -> Any:
    """An Arrow scalar as a Python value, a list of numbers as an array instead of a Python object for each."""
    if cell is None or not cell.is_valid:
        return None
    if isinstance(cell, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
        return cell.values.to_numpy(zero_copy_only=False) if cell.values.null_count == 0 else cell.as_py()
    if isinstance(cell, pa.StructScalar):
        return {field.name: _plain(cell[place]) for place, field in enumerate(cell.type)}
    return cell.as_py()


def _value(cell: Any) -> Any:
    """An Arrow scalar as a Python value; None for what can't be one."""
    try:
        return None if cell is None else cell.as_py()
    except (ValueError, OverflowError, pa.ArrowException):
        return None


def _text(cell: Any) -> str:
    """A string or a number as text; "" for nothing and for anything else."""
    value = None if cell is None else cell.as_py()
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""


def _metadata(cell: Any) -> Any:
    try:
        return cell.as_py()
    except (ValueError, OverflowError, pa.ArrowException):  # a date outside the calendar, text that is not UTF-8
        return f"unreadable {cell.type}"
