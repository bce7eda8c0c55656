"""Names made from content, and randomness made from names.

A record's id never depends on where it stands, and a random choice never on who makes it or when: so any number of workers,
any order and any resumed run give the same records.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson


def canonical(value: Any) -> bytes:
    """The one JSON spelling of `value` (sorted keys, UTF-8): what gets hashed."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)


def content_id(prefix: str, *parts: Any, length: int = 12) -> str:
    """`prefix_` + the first `length` hex digits of the SHA-256 of `parts`.

    12 digits are 48 bits: among a million records a clash has a chance of about 0.2 %. Use 16 for hundreds of millions.
    """
    return f"{prefix}_{hashlib.sha256(canonical(list(parts))).hexdigest()[:length]}"


def random_for(seed: int, *names: str) -> random.Random:
    """A generator that depends on the run's `seed` and on what it is for, and on nothing else."""
    return random.Random(hashlib.sha256(canonical([seed, *names])).digest())


def fraction_for(seed: int, *names: str) -> float:
    """A number in [0, 1), uniform over the names, the same each time it is asked for."""
    digest = hashlib.sha256(canonical([seed, *names])).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def hash_files(*sources: ModuleType | Path | str, length: int = 16) -> str:
    """One hash over the text of source files: the key of whatever is cached by the code that made it.

    A folder stands for all `.py`, `.yaml` files below it, by sorted relative path.
    """
    digest = hashlib.sha256()
    for source in sources:
        path = Path(source.__file__ or "") if isinstance(source, ModuleType) else Path(source)
        for file in _files_of(path):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:length]


def _files_of(path: Path) -> Iterable[Path]:
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.suffix in {".py", ".yaml"} and file.is_file())
    return [path]
