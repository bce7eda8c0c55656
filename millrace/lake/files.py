"""Which parquet files a lake has, and whether they can be used."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from millrace.errors import InputError
from millrace.lake.rows import IMAGE_COLUMNS

BATCH_ROWS = 32
"""Rows held at a time: at the quarter of a megabyte of a photograph, 8 MB."""


class LakeFile(msgspec.Struct, frozen=True):
    """One usable parquet file."""

    file: Path
    rows: int
    row_groups: int
    columns: tuple[str, ...]


class UnusableFile(msgspec.Struct, frozen=True):
    """One file that gives no images, and why, in one sentence."""

    file: Path
    detail: str


class LakeCheck(msgspec.Struct, frozen=True):
    """What a look at every file's footer says about a lake."""

    usable: tuple[LakeFile, ...]
    unusable: tuple[UnusableFile, ...]

    @property
    def rows(self) -> int:
        """Rows in all usable files."""
        return sum(file.rows for file in self.usable)


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
    try:
        files = sorted(file for file in folder.glob("*.parquet") if file.is_file() and not file.name.startswith((".", "_")))
        deeper = [] if files else sorted({str(file.parent) for file in folder.glob("*/*.parquet")})
    except OSError as error:
        raise InputError(f"the lake folder {folder} cannot be read: {error.strerror}") from error
    if not files:
        hint = f"there are some in {deeper[0]}: give that folder" if deeper else "give a folder of .parquet files"
        raise InputError(f"the lake folder {folder} holds no .parquet file; {hint}")
    return files


def check_lake(folder: Path | str) -> LakeCheck:
    """Look at every file's footer: which can be used, which not and why. Reads no image.

    A caller that must not lose a file raises on `unusable`; one that may go on counts it as dropped with its reason.

    Raises:
        InputError: no file can be used, or those that can hold no rows.
    """
    usable, unusable = [], []
    for file in lake_files(folder):
        try:
            with open_parquet(file) as parquet:
                require_image_column(file, parquet)
                metadata = parquet.metadata
                usable.append(LakeFile(file, metadata.num_rows, metadata.num_row_groups, tuple(parquet.schema_arrow.names)))
        except InputError as error:
            unusable.append(UnusableFile(file, str(error)))
    check = LakeCheck(tuple(usable), tuple(unusable))
    if not usable:
        more = f" (and so for {len(unusable) - 1} more)" if len(unusable) > 1 else ""
        raise InputError(f"no file of the lake {folder} can be used: {unusable[0].detail}{more}")
    if not check.rows:
        raise InputError(f"the parquet files of the lake {folder} hold no rows")
    return check


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
        raise InputError(f"{file} is not a readable parquet file: {first_line(error)}") from error


def require_image_column(file: Path, parquet: pq.ParquetFile) -> None:
    """Raises `InputError` when none of the file's columns could hold an image."""
    names = parquet.schema_arrow.names
    if not set(IMAGE_COLUMNS) & set(names):
        raise InputError(f"{file} has no image column: it has {', '.join(names) or 'none'}; known: {', '.join(IMAGE_COLUMNS)}")


def file_name(file: Path, lake: Path | None) -> str:
    """How refs name `file`: relative to the lake's folder when it is inside, absolute otherwise."""
    file, folder = file.absolute(), (lake or file.parent).absolute()
    folder = folder.parent if folder.is_file() else folder
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


def first_line(error: Exception) -> str:
    """What an Arrow error says, without its stack of C++ lines."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
