"""One of the two sides: where its outcomes lie, and what they say as far as comparing needs it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from millrace.errors import InputError, MillraceError
from millrace.records.compare import ComparedImage
from millrace.records.outcome import BaselineAnswer, Judgement
from millrace.records.record import decode, decoder
from millrace.records.summaries import ProbingSummary
from millrace.run.ids import canonical
from millrace.run.journal import read_json, read_record

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
    config: Mapping[str, Any]
    """The probing's settings, as its `config.json` has them: of any version, read only by `HowAsked` and for messages."""

    @property
    def shards(self) -> list[Path]:
        """The journals, in order."""
        return sorted(self.folder.glob("shard-*.jsonl"))

    @property
    def lake(self) -> Path:
        """The folder of its images."""
        return self.summary.lake_folder

    @property
    def summary(self) -> ProbingSummary:
        """What its probing says of itself; raises RunFailed where it is of another version."""
        return read_record(self.folder / "summary.json", ProbingSummary)

    def sha256(self) -> str:
        """Over all journals: what exactly was compared."""
        digest = hashlib.sha256()
        for shard in self.shards:
            digest.update(shard.read_bytes())
        return digest.hexdigest()


class Model(msgspec.Struct):
    """The model that answered."""

    name: str = ""
    fingerprint: str = ""


class Line(msgspec.Struct):
    """What is read of a line of the journal; of an outcome all but `reason` is there."""

    id: str
    kind: str
    image: ComparedImage | None = None
    claim_id: str | None = None
    claim_set: str = ""
    prefilled: dict[str, str] = {}
    selectors: Any = None
    outcome: str = ""
    baseline: Model | None = None
    factors: tuple[str, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """What is shown of an outcome: the question, the reply, the right answer."""

    image: ComparedImage
    claim: str
    answerable: bool
    outcome: str
    baseline: BaselineAnswer | None = None
    judge: Judgement | None = None


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
    read = decoder(Line).decode
    for number, shard in enumerate(side.shards):
        offset = 0
        with shard.open("rb") as file:
            for count, raw in enumerate(file, 1):
                start, offset = offset, offset + len(raw)
                try:
                    line = read(raw)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise InputError(f"{shard}, line {count}, is no outcome that can be read ({error})") from error
                if line.kind != "outcome":
                    continue
                if line.image is None or line.claim_id is None or not line.outcome:
                    raise InputError(f"{shard}, line {count}, is an outcome without image, claim or outcome")
                yield Asked(_key(line), line, number, start)


def answer_of(side: Side, asked: Asked) -> Answer:
    """What is shown of an outcome.

    Raises:
        RunFailed: the line is of another shape; the message names file, place and field.
    """
    shard = side.shards[asked.shard]
    with shard.open("rb") as file:
        file.seek(asked.offset)
        return decode(file.readline(), Answer, f"{shard}, byte {asked.offset}")


def _key(line: Line) -> bytes:
    assert line.image is not None
    about = [line.image.sha256, line.claim_id, line.prefilled, line.selectors]
    return hashlib.blake2b(canonical(about), digest_size=16).digest()
