"""Seals a checkpoint: its sums in a file beside it, so that even a well-formed wrong file is noticed.

The CRC inside an item says that the item is whole, not that it is the right one: two files of equal shapes, swapped or taken
from another step, pass. Safetensors files have no sums at all. A seal lists the CRC-32 of every stored tensor by place, and the
SHA-256 of the metadata; `verify="crc"` compares with it where there is one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from millrace.checkpoint.engine.vector_io import read_regular
from millrace.checkpoint.problems import CheckpointError, Problem
from millrace.run.journal import write_json

SEAL_NAME = ".millrace-seal.json"
SCHEMA = "millrace.seal/1"


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

    def metadata_problem(self, folder: Path) -> Problem | None:
        """Whether `.metadata` is not the sealed one."""
        if metadata_sha256(folder) == self.metadata_sha256:
            return None
        return Problem("not the metadata that was sealed", ".metadata")


def metadata_sha256(folder: Path) -> str:
    """Of the metadata file; empty where there is none."""
    path = folder / ".metadata"
    return hashlib.sha256(read_regular(path)).hexdigest() if path.exists() else ""


def write_seal(folder: Path, seal: Seal) -> Path:
    """Put the seal into the checkpoint, all or nothing."""
    path = folder / SEAL_NAME
    write_json(path, {"schema": SCHEMA, "metadata_sha256": seal.metadata_sha256, "sums": seal.sums})
    return path


def read_seal(folder: Path) -> Seal | None:
    """The checkpoint's seal; None: it has none.

    Raises:
        CheckpointError: the seal itself is damaged.
    """
    path = folder / SEAL_NAME
    if not path.exists():
        return None
    try:
        found = json.loads(read_regular(path))
        if found["schema"] != SCHEMA:
            raise KeyError(found["schema"])
        return Seal(str(found["metadata_sha256"]), {str(key): dict(value) for key, value in found["sums"].items()})
    except (OSError, RecursionError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(str(folder), [Problem(f"damaged: {error}", SEAL_NAME)]) from error
