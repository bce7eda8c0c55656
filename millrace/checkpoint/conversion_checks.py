"""A conversion begins with a whole source and ends with a whole result, or leaves nothing."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Literal, cast

import torch
from typing_extensions import Buffer

from millrace.checkpoint.engine.stalls import STALL_S, StalledRead
from millrace.checkpoint.engine.vector_io import Files
from millrace.checkpoint.formats.crc import crc32
from millrace.checkpoint.formats.safetensors_folder import is_safetensors_file
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.sources import open_source, pieces_of
from millrace.checkpoint.verify import parts_of, verify_file
from millrace.checkpoint.whole_items import OneFile
from millrace.errors import RunFailed
from millrace.records.checkpoint import Problem

READ_BYTES = 1 << 20
HINT = "set convert.check=size to convert it all the same"


def check_source(
    path: Path,
    check: Literal["size", "crc"],
    threads: int | None,
    stall_s: float | None = STALL_S,
    files: Files | None = None,
) -> None:
    """Look for damage before anything is written.

    Covers: folders as `verify` does; of a `torch.save` file the sums of all entries. Does not cover: safetensors files without a
    seal, which have no sums: only their structure is looked at.

    Raises:
        CheckpointError: all damage that was found.
    """
    if path.is_file() and not is_safetensors_file(path):
        problems = _archive_problems(path, stall_s, files) if check == "crc" else []
    else:
        parts, problems = parts_of(path, stall_s, files)
        if check == "crc":
            reports = [verify_file(part, threads, stall_s=stall_s, files=files) for part in parts]
            problems = problems + [problem for report in reports for problem in report.problems]
    if problems:
        raise CheckpointError(str(path), [*problems, Problem(f"nothing was written; {HINT}")] if check == "crc" else problems)


def _archive_problems(path: Path, stall_s: float | None, files: Files | None) -> list[Problem]:
    try:
        wrong = OneFile(path, stall_s, files).read_with(_archive_problem)
    except StalledRead as stalled:
        wrong = str(stalled)
    except OSError as error:
        wrong = f"cannot be read: {error.strerror or error}"
    return [Problem(wrong, path.name)] if wrong else []


def _archive_problem(stream: IO[bytes]) -> str:
    """What is wrong with a zip, by the sums of its entries; empty: nothing, or it is no zip."""
    if not zipfile.is_zipfile(stream):
        return ""  # an old format: it has no sums, and is refused where it is read
    try:
        with zipfile.ZipFile(stream) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as part:
                    while part.read(READ_BYTES):
                        pass
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        return f"CRC check failed: {error}"
    return ""


def check_output(
    place: Path,
    target: Path,
    tensors: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    sums: Mapping[str, int],
    limit: int,
    stall_s: float | None = STALL_S,
) -> None:
    """Read what was written and compare it with the sums of what was handed over.

    Raises:
        RunFailed: they differ; the disk lost something.
    """
    written = open_source(place, None, byte_items="trusted", stall_s=stall_s)  # written here, a moment ago
    for name, (dtype, sizes) in tensors.items():
        if written.contents.tensors.get(name) != (dtype, sizes):
            raise RunFailed(f"{target}: '{name}' was written with another shape or dtype; nothing is kept of it")
        crc = 0
        for offsets, inner in pieces_of(sizes, dtype.itemsize, limit) if 0 not in sizes else ():
            piece = torch.empty(inner, dtype=dtype, device="cpu")
            written.read(name, offsets, piece)
            crc = crc32(memoryview(cast(Buffer, piece.reshape(-1).view(torch.uint8).numpy())), crc)
        if crc != sums[name]:
            raise RunFailed(f"{target}: '{name}' does not read as it was written: is the disk failing? Nothing is kept of it")
