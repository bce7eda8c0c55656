"""Pictures in tar and zip files, read as they stream. A damaged archive gives what stands before the damage, and says so."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import orjson

from millrace.errors import ItemFailed
from millrace.lake.images import MAX_BYTES
from millrace.lake.importing.found import Found, is_image_name

_TEXTS = {"txt": "text", "text": "text", "caption": "text", "cls": "label"}
"""Endings of WebDataset's members that hold one value → the column it becomes. `json` holds columns of its own."""

MAX_TEXT_BYTES = 1 << 20
"""A member of columns that is larger is none."""

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, zlib.error, NotImplementedError, RuntimeError, ValueError)
"""What the readers of archives raise over damaged or encrypted ones."""


def in_tar(file: Path, name: str) -> Iterator[Found]:
    """The pictures of a tar file, with the columns that the members of the same name give them (WebDataset)."""
    sample = _Sample("")
    try:
        with tarfile.open(file, "r|*") as archive:
            for member in archive:
                inside = PurePosixPath(member.name)
                if not member.isfile() or inside.name.startswith(".") or "__MACOSX" in inside.parts:
                    continue
                stem, _, ending = inside.name.partition(".")
                key = str(inside.parent / stem)
                if key != sample.key:
                    yield from sample.pictures()
                    sample = _Sample(key)
                if is_image_name(inside.name):
                    sample.found.append(_member(f"{name}/{inside}", member.size, archive.extractfile(member)))
                elif member.size <= MAX_TEXT_BYTES and (ending == "json" or ending in _TEXTS):
                    content = archive.extractfile(member)
                    sample.read(ending, content.read() if content is not None else b"")
    except _DAMAGED as error:
        yield from sample.pictures()
        yield Found(name, None, {}, ItemFailed("damaged_archive", f"it cannot be read to its end: {_said(error)}"))
        return
    yield from sample.pictures()


def in_zip(file: Path, name: str) -> Iterator[Found]:
    """The pictures of a zip file."""
    try:
        with zipfile.ZipFile(file) as archive:
            for member in sorted(archive.infolist(), key=lambda one: one.filename):
                inside = PurePosixPath(member.filename)
                hidden = inside.name.startswith(".") or "__MACOSX" in inside.parts
                if member.is_dir() or hidden or not is_image_name(inside.name):
                    continue
                try:
                    with archive.open(member) as content:
                        yield _member(f"{name}/{inside}", member.file_size, content)
                except _DAMAGED as error:
                    yield Found(f"{name}/{inside}", None, {}, ItemFailed("damaged_archive", _said(error)))
    except _DAMAGED as error:
        yield Found(name, None, {}, ItemFailed("damaged_archive", f"it cannot be read: {_said(error)}"))


class _Sample:
    """The members of a tar file that have one name."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.found: list[Found] = []
        self.columns: dict[str, Any] = {}

    def read(self, ending: str, content: bytes) -> None:
        """Take a member's columns; what cannot be read says nothing."""
        try:
            if ending == "json":
                told = orjson.loads(content)
                self.columns |= told if isinstance(told, dict) else {"json": told}
            else:
                self.columns[_TEXTS[ending]] = content.decode().strip()
        except ValueError:
            return

    def pictures(self) -> Iterator[Found]:
        """Each picture with the columns of all."""
        for found in self.found:
            yield found._replace(columns=self.columns)


def _member(name: str, size: int, content: Any) -> Found:
    if size > MAX_BYTES:
        return Found(name, None, {}, ItemFailed("image_too_large", f"{size:,} bytes, {MAX_BYTES:,} allowed"))
    return Found(name, content.read(MAX_BYTES + 1) if content is not None else b"")


def _said(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
