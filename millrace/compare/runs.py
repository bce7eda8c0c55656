"""One of the two sides: where its outcomes lie, and what they say as far as comparing needs it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import InputError, MillraceError
from millrace.run.ids import canonical
from millrace.run.journal import read_json

KINDS = "a run of probing or full"


@dataclass(frozen=True)
class Side:
    """A finished probing."""

    name: str
    """`before` or `after`."""
    shown: str
    """How messages call it."""
    folder: Path
    """Of the probing stage: its shards and its summary."""
    config: dict[str, Any]
    """The probing's settings, as its `config.json` has them."""

    @property
    def shards(self) -> list[Path]:
        """The journals, in order."""
        return sorted(self.folder.glob("shard-*.jsonl"))

    @property
    def lake(self) -> Path:
        """The folder of its images."""
        return Path(str(read_json(self.folder / "summary.json")["lake"]))

    def sha256(self) -> str:
        """Over all journals: what exactly was compared."""
        digest = hashlib.sha256()
        for shard in self.shards:
            digest.update(shard.read_bytes())
        return digest.hexdigest()


class Image(msgspec.Struct):
    """Where an image lies."""

    image_id: str
    file: str
    row: int
    sha256: str


class Who(msgspec.Struct):
    """Who answered."""

    name: str = ""
    fingerprint: str = ""


class Line(msgspec.Struct):
    """What is read of a line of the journal; of an outcome all but `reason` is there."""

    id: str
    kind: str
    image: Image | None = None
    claim_id: str | None = None
    claim_set: str = ""
    prefilled: dict[str, str] = {}
    selectors: Any = None
    outcome: str = ""
    baseline: Who | None = None
    factors: tuple[str, ...] = ()


class Asked(msgspec.Struct, frozen=True):
    """One outcome: what was asked, and what came of it."""

    key: bytes
    """Of (image content, claim, subject): the same in two runs that asked the same."""
    line: Line
    shard: int
    offset: int
    """Where the whole record starts in its shard."""


def run_side(name: str, path: Path) -> Side:
    """The side that an existing run is.

    Raises:
        InputError: there is no run, it is of another kind, or it is not finished.
    """
    if not path.exists():
        raise InputError(f"there is no run at {path}")
    try:
        config = read_json(path / "config.json")
    except OSError as error:
        raise InputError(f"{path} is no run's folder: it has no config.json") from error
    except MillraceError as error:
        raise InputError(str(error)) from error
    if not isinstance(config, dict) or not isinstance(config.get("probing"), dict):
        found = f"a run of {', '.join(config)}" if isinstance(config, dict) and config else "no run"
        raise InputError(f"{path} is {found}; compare takes {KINDS}")
    side = Side(name, str(path), path / "probing", config["probing"])
    if not (side.folder / "summary.json").exists() or not side.shards:
        raise InputError(f"the probing of {path} is not finished; run it to its end first (the same command goes on)")
    return side


def read_side(side: Side) -> Iterator[Asked]:
    """The outcomes of a side, in the order of its journals.

    Raises:
        InputError: a line is damaged or no outcome of this version; the message names file and line.
    """
    decode = msgspec.json.Decoder(Line).decode
    for number, shard in enumerate(side.shards):
        offset = 0
        with shard.open("rb") as file:
            for count, raw in enumerate(file, 1):
                start, offset = offset, offset + len(raw)
                try:
                    line = decode(raw)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise InputError(f"{shard}, line {count}, is no outcome that can be read ({error})") from error
                if line.kind != "outcome":
                    continue
                if line.image is None or line.claim_id is None or not line.outcome:
                    raise InputError(f"{shard}, line {count}, is an outcome without image, claim or outcome")
                yield Asked(_key(line), line, number, start)


def whole_record(side: Side, asked: Asked) -> dict[str, Any]:
    """The record of an outcome, whole."""
    with side.shards[asked.shard].open("rb") as file:
        file.seek(asked.offset)
        record: dict[str, Any] = msgspec.json.decode(file.readline())
    return record


def _key(line: Line) -> bytes:
    assert line.image is not None
    about = [line.image.sha256, line.claim_id, line.prefilled, line.selectors]
    return hashlib.blake2b(canonical(about), digest_size=16).digest()
