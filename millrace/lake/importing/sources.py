"""The pictures in a folder, an archive or a data set, one after another, whatever form they are stored in.

A folder is walked: image files, tar files (WebDataset: members of one name belong together), zip files, parquet files (the Hub's
`data/` layout), Arrow files (`datasets.save_to_disk`), with the columns that a `metadata.jsonl` or `metadata.csv` gives image
files (the Hub's image folders). What is no picture is counted and left aside.
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from millrace.errors import InputError, ItemFailed
from millrace.lake.importing.archives import in_tar, in_zip
from millrace.lake.importing.found import Found, is_image_name
from millrace.lake.importing.tables import in_arrow, in_parquet
from millrace.lake.rows import read_file

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
METADATA = ("metadata.jsonl", "metadata.csv")


class Sources:
    """What was named on the command line.

    Args:
        paths: files and folders, in any mixture.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.left_aside: Counter[str] = Counter()
        """Endings of the files that are no pictures → how many there were. Filled while the pictures are read."""

    def __iter__(self) -> Iterator[Found]:
        """Every picture, in the order of names.

        Raises:
            InputError: a path is not there, or a metadata file is no such file.
        """
        for path in self.paths:
            if path.is_dir():
                yield from self._in_folder(path)
            elif path.is_file():
                yield from self._in_file(path, path.name, {})
            else:
                raise InputError(f"there is no file or folder {path}")

    def _in_folder(self, folder: Path) -> Iterator[Found]:
        for place, deeper, names in os.walk(folder):
            deeper[:] = sorted(name for name in deeper if not name.startswith((".", "__MACOSX")))
            here = Path(place)
            columns = _metadata(here, names)
            arrows = _arrow_files(here, names)
            for name in sorted(names):
                file = here / name
                if name.startswith(".") or name in METADATA or (name.endswith(".arrow") and name not in arrows):
                    continue
                yield from self._in_file(file, _shown(file.relative_to(folder)), columns.get(name, {}))

    def _in_file(self, file: Path, name: str, columns: dict[str, Any]) -> Iterator[Found]:
        lower = file.name.lower()
        if is_image_name(lower):
            yield _image(file, name, columns)
        elif lower.endswith(TARS):
            yield from in_tar(file, name)
        elif lower.endswith(".zip"):
            yield from in_zip(file, name)
        elif lower.endswith(".parquet"):
            yield from in_parquet(file, name)
        elif lower.endswith(".arrow"):
            yield from in_arrow(file, name)
        else:
            self.left_aside[file.suffix.lower() or "no ending"] += 1


def _image(file: Path, name: str, columns: dict[str, Any]) -> Found:
    try:
        return Found(name, read_file(str(file.absolute()), Path("/")), columns)
    except ItemFailed as failure:
        return Found(name, None, columns, failure)


def _shown(path: Path) -> str:
    """A path as text that every file can hold."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _arrow_files(folder: Path, names: list[str]) -> set[str]:
    """The Arrow files that are a saved data set's rows: those that its `state.json` names, else all that are no cache."""
    if "state.json" in names:
        try:
            state = orjson.loads((folder / "state.json").read_bytes())
            return {entry["filename"] for entry in state["_data_files"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder / 'state.json'} does not describe a saved data set: {error}") from error
    return {name for name in names if name.endswith(".arrow") and not name.startswith("cache-")}


class _Told(NamedTuple):
    """One line of a metadata file."""

    line: int
    columns: Any


def _metadata(folder: Path, names: list[str]) -> dict[str, dict[str, Any]]:
    """File name → its columns, of the folder's metadata file; {} without one.

    Raises:
        InputError: a line of it is wrong; the message names it.
    """
    found: dict[str, dict[str, Any]] = {}
    for name in METADATA:
        if name not in names:
            continue
        file = folder / name
        for told in _lines(file):
            key = told.columns.get("file_name") if isinstance(told.columns, dict) else None
            if not isinstance(key, str) or not key:
                raise InputError(f"{file}, line {told.line}: no object with a `file_name`")
            found[key] = {column: value for column, value in told.columns.items() if column != "file_name"}
    return found


def _lines(file: Path) -> Iterator[_Told]:
    if file.suffix == ".csv":
        try:
            with file.open(newline="", encoding="utf-8-sig") as rows:
                for number, row in enumerate(csv.DictReader(rows), start=2):
                    yield _Told(number, {column: value for column, value in row.items() if column})
        except (OSError, csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read: {error}") from error
        return
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield _Told(number, orjson.loads(line))
            except orjson.JSONDecodeError as error:
                raise InputError(f"{file}, line {number}: no JSON ({error})") from error
