"""Images in: a folder of parquet files, read row group by row group, so memory does not grow with the lake.

What counts as an image is decided by column name, as the original pipeline did: see `BYTES_COLUMNS`, `BASE64_COLUMNS` and
`PATH_COLUMNS`. Everything else in a row is kept as metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import InputError, ItemFailed
from tasks.lake.images import MAX_BYTES, REASONS, image_bytes
from tasks.lake.scene import Scene, scene_from_json

BYTES_COLUMNS = ("jpg", "image", "image_bytes")
"""Columns that hold an encoded image: binary, list<uint8>, or a struct with `bytes`. `jpg` first, as the original has it."""

BASE64_COLUMNS = ("image_base64", "image_b64", "base64")
"""Columns that hold one as base64 text."""

PATH_COLUMNS = ("image_path", "path", "file_path", "image_url")
"""Columns that name a file, used when a row has no bytes. A relative path starts at the folder of the parquet file."""

OWN_COLUMNS = ("image_id", "scene", "label_map")

BATCH_ROWS = 32
"""Rows held at a time: at the quarter of a megabyte of a photograph, 8 MB."""


class ImageRef(msgspec.Struct, frozen=True):
    """Where one image lies: enough to find it again, and to notice that it is no longer the same."""

    image_id: str
    file: str
    """The parquet file, relative to the lake's folder when it is inside."""
    row: int
    sha256: str
    """16 hex digits over the stored bytes; "" when there are none."""


class LakeRow(msgspec.Struct, frozen=True):
    """One row with an image, still encoded."""

    ref: ImageRef
    image_bytes: bytes
    path: str | None
    """The image file, where the row named one instead of holding bytes."""
    scene: Scene | None
    """The annotation, where the lake has one."""
    label_map: bytes | None
    """PNG, see `tasks.lake.scene`."""
    metadata: dict[str, Any]
    """Every other column, `conversations` among them."""


class BadRow(msgspec.Struct, frozen=True):
    """One row without a usable image: it becomes a record with its reason."""

    ref: ImageRef
    reason: str
    """A key of `tasks.lake.images.REASONS`."""
    detail: str


def lake_files(folder: Path | str) -> list[Path]:
    """The parquet files directly in `folder` (or the one file named), sorted by name.

    Raises:
        InputError: there is no such folder, or it holds none.
    """
    folder = Path(folder)
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(f"there is no lake folder {folder}; give a folder of .parquet files")
    files = sorted(file for file in folder.glob("*.parquet") if file.is_file() and not file.name.startswith((".", "_")))
    if not files:
        deeper = sorted({str(file.parent) for file in folder.glob("*/*.parquet")})
        hint = f"; there are some in {deeper[0]}: give that folder" if deeper else "; give a folder of .parquet files"
        raise InputError(f"the lake folder {folder} holds no .parquet file{hint}")
    return files


def count_rows(file: Path) -> int:
    """Rows in one parquet file, from its footer alone. Raises `InputError` when it is no parquet file."""
    with open_parquet(file) as parquet:
        return int(parquet.metadata.num_rows)


def open_parquet(file: Path) -> pq.ParquetFile:
    """Open `file` for streaming. Raises `InputError` in one sentence when it is not parquet or cannot be read."""
    try:
        return pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 18)
    except FileNotFoundError as error:
        raise InputError(f"there is no parquet file {file}") from error
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file} is not a readable parquet file: {_first_line(error)}") from error


def stream_rows(file: Path, rows: Sequence[int] | None = None, *, lake: Path | None = None) -> Iterator[LakeRow | BadRow]:
    """The rows of one parquet file in order, or those numbered in `rows`, a batch of `BATCH_ROWS` in memory at a time.

    A row that has no usable image comes as `BadRow`, so as many come out as were asked for. A damaged row group costs its own
    rows, each as a `BadRow`, and no others.

    Args:
        file: the parquet file.
        rows: row numbers wanted, in any order; they come ascending. None means all.
        lake: the folder that `ImageRef.file` is relative to; None means the file's own.

    Raises:
        InputError: the file is not parquet, or has no column that could hold an image.
    """
    wanted = None if rows is None else np.unique(np.asarray(rows, dtype=np.int64))
    with open_parquet(file) as parquet:
        require_image_column(file, parquet)
        name = file_name(file, lake)
        if wanted is not None and len(wanted) and not 0 <= wanted[0] <= wanted[-1] < parquet.metadata.num_rows:
            raise ValueError(f"{file} has rows 0 to {parquet.metadata.num_rows - 1}, asked for {wanted[0]} to {wanted[-1]}")
        start = 0
        for group in range(parquet.metadata.num_row_groups):
            stop = start + parquet.metadata.row_group(group).num_rows
            inside = np.arange(start, stop) if wanted is None else wanted[(wanted >= start) & (wanted < stop)]
            if len(inside):
                yield from _stream_group(parquet, group, start, inside.tolist(), file=file, name=name)
            start = stop


def _stream_group(
    parquet: pq.ParquetFile, group: int, start: int, inside: list[int], *, file: Path, name: str
) -> Iterator[LakeRow | BadRow]:
    done, position = 0, start
    try:
        for batch in parquet.iter_batches(batch_size=BATCH_ROWS, row_groups=[group], use_threads=False):
            while done < len(inside) and inside[done] < position + batch.num_rows:
                row = inside[done]
                done += 1
                yield row_of(batch, row - position, file=file, name=name, row=row)
            position += batch.num_rows
            if done == len(inside):
                return
    except (pa.ArrowException, OSError) as error:
        detail = f"row group {group}: {_first_line(error)}"
        for row in inside[done:]:
            yield BadRow(ImageRef(f"{file.stem}_{row}", name, row, ""), "unreadable_rows", detail)


def require_image_column(file: Path, parquet: pq.ParquetFile) -> None:
    """Raises `InputError` when none of the file's columns could hold an image."""
    names = parquet.schema_arrow.names
    known = (*BYTES_COLUMNS, *BASE64_COLUMNS, *PATH_COLUMNS)
    if not set(known) & set(names):
        raise InputError(f"{file} has no image column: it has {', '.join(names) or 'none'}; known are {', '.join(known)}")


def file_name(file: Path, lake: Path | None) -> str:
    """How refs name `file`: relative to the lake's folder when it is inside, absolute otherwise."""
    file, folder = file.absolute(), (lake or file.parent).absolute()
    folder = folder.parent if folder.is_file() else folder
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


def row_of(batch: pa.RecordBatch, index: int, *, file: Path, name: str, row: int) -> LakeRow | BadRow:
    """Row `index` of `batch` as a record; its number in the file is `row`."""
    cells = {column: batch.column(place)[index] for place, column in enumerate(batch.schema.names)}
    path = next((text for column in PATH_COLUMNS if (text := _text(cells.get(column)))), None)
    image_id = _text(cells.get("image_id")) or (Path(path).stem if path else "") or f"{file.stem}_{row}"
    try:
        data, path = _image_of(cells, path, file.parent)
        annotation = _text(cells.get("scene"))
        label_map = _plain(cells.get("label_map"))
        return LakeRow(
            ref=ImageRef(image_id, name, row, sha256(data).hexdigest()[:16]),
            image_bytes=data,
            path=path,
            scene=_scene(annotation),
            label_map=label_map if isinstance(label_map, bytes) else None,
            metadata={
                column: cell.as_py()
                for column, cell in cells.items()
                if column not in OWN_COLUMNS and column not in BYTES_COLUMNS and column not in BASE64_COLUMNS
            },
        )
    except ItemFailed as failure:
        return BadRow(ImageRef(image_id, name, row, ""), failure.reason, failure.detail)


def _image_of(cells: dict[str, Any], path: str | None, folder: Path) -> tuple[bytes, str | None]:
    for column in (*BYTES_COLUMNS, *BASE64_COLUMNS):
        value = _plain(cells.get(column))
        data = image_bytes(value)
        if data is not None:
            return data, None
        if isinstance(value, dict) and not path:
            path = value.get("path")
    if not path:
        raise ItemFailed("no_image", REASONS["no_image"])
    return _read_file(path, folder)


def _read_file(path: str, folder: Path) -> tuple[bytes, str]:
    scheme, sign, rest = path.partition("://")
    if sign and scheme.lower() != "file":
        raise ItemFailed("remote_image", f"{path[:200]} is not downloaded; put the bytes into a column `jpg`")
    file = folder / (rest if sign else path)
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
    return data, str(file)


def _scene(text: str) -> Scene | None:
    """The annotation; None for a column `scene` that somebody else uses for something else."""
    try:
        return scene_from_json(text) if text.startswith("{") else None
    except msgspec.DecodeError:
        return None


def _plain(cell: Any) -> Any:
    """An Arrow scalar as a Python value, long lists of numbers as an array instead of a Python object for each."""
    if cell is None or not cell.is_valid:
        return None
    if isinstance(cell, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
        return cell.values.to_numpy(zero_copy_only=False) if cell.values.null_count == 0 else cell.as_py()
    if isinstance(cell, pa.StructScalar):
        return {field: _plain(cell[field]) for field in cell.type.names}
    return cell.as_py()


def _text(cell: Any) -> str:
    value = None if cell is None else cell.as_py()
    return value if isinstance(value, str) else "" if value is None or isinstance(value, bytes | list | dict) else str(value)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
