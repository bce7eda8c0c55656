"""Seals a checkpoint: its sums in a file beside it, so that even a well-formed wrong file is noticed.

The CRC inside an item says that the item is whole, not that it is the right one: two files of equal shapes, swapped or taken
from another step, pass. Safetensors files have no sums at all. A seal lists the CRC-32 of every stored tensor by place, and the
SHA-256 of the metadata; `verify="crc"` compares with it where there is one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from millrace.checkpoint.engine.place import Place
from millrace.checkpoint.engine.stalls import Watch
from millrace.checkpoint.problems import CheckpointError
from millrace.errors import RunFailed
from millrace.records.checkpoint import Problem, SealFile
from millrace.records.record import decode
from millrace.run.journal import write_json

SEAL_NAME = ".millrace-seal.json"


@dataclass
class Seal:
    """What was true when the checkpoint was sealed."""

    metadata_sha256: str = ""
    """Of `.metadata`; empty: there was none (a safetensors folder)."""
    sums: dict[str, dict[str, int]] = field(default_factory=dict)
    """CRC-32 by file and byte offset of the storage."""

    def add(self, file: str, data_start: int, crc: int) -> None:
        """Note the sum of the storage that begins at `data_start`."""
        self.sums.setdefault(file, {})[str(data_start)] = crc

    def difference(self, file: str, data_start: int, crc: int) -> str:
        """What is wrong with a storage whose bytes sum to `crc`; empty: nothing."""
        sealed = self.sums.get(file, {}).get(str(data_start))
        if sealed is None:
            return "the seal knows nothing at this place"
        return "" if sealed == crc else f"not what was sealed: its bytes sum to {crc:08x}, {sealed:08x} was sealed"

    def metadata_problem(self, place: Place, watch: Watch) -> Problem | None:
        """Whether `.metadata` is not the sealed one."""
        if metadata_sha256(place, watch) == self.metadata_sha256:
            return None
        return Problem("not the metadata that was sealed", ".metadata")


def metadata_sha256(place: Place, watch: Watch) -> str:
    """Of the metadata file; empty where there is none."""
    try:
        return hashlib.sha256(place.whole(".metadata", watch)).hexdigest()
    except FileNotFoundError:
        return ""


def write_seal(folder: Path, seal: Seal) -> Path:
    """Put the seal into the checkpoint, all or nothing."""
    path = folder / SEAL_NAME
    write_json(path, msgspec.to_builtins(SealFile(metadata_sha256=seal.metadata_sha256, sums=seal.sums)))
    return path


def read_seal(place: Place, watch: Watch) -> Seal | None:
    """The checkpoint's seal; None: it has none.

    Raises:
        CheckpointError: the seal itself is damaged, or it cannot be read whether there is one. StalledRead: there is no answer.
    """
    try:
        data = place.whole(SEAL_NAME, watch)
    except FileNotFoundError:
        return None
    except OSError as error:
        what = f"cannot be read: {error.strerror or error}; verify='size' loads without looking for a seal"
        raise CheckpointError(str(place.path), [Problem(what, SEAL_NAME)]) from error
    try:
        found = decode(data, SealFile, SEAL_NAME)
    except (RunFailed, RecursionError, ValueError) as error:
        raise CheckpointError(str(place.path), [Problem(f"damaged: {error}", SEAL_NAME)]) from error
    return Seal(found.metadata_sha256, found.sums)
