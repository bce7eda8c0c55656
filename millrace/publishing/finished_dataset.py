"""The dataset of a finished run as files to publish, after a look at what each claims.

Covers: files that were changed, lost or added since the run wrote them, rows whose status is another than that of their file, a
card without a licence. Does not cover: whether an answer is right; `millrace trace` and `verify` are for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

import orjson
import yaml

from millrace.errors import InputError, UsageError

STATUSES = ("verified", "judged", "unverified")
"""Kinds of evidence; a file holds one."""

UNSET = ("", "other", "unknown")
"""What a card says whose licence nobody has chosen."""

SYNTHESIS_FILES = {"verified": "qa.jsonl", "judged": "judged.jsonl"}
"""Where a synthesis keeps its items, by status: what its tables and rows are made of."""


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of the dataset."""

    name: str
    """Its path in the dataset's folder."""
    path: Path
    bytes: int
    status: str
    """`verified`, `judged`, `unverified`; empty for the card and the list of files."""
    rows: int | None
    """None for a file that has no rows."""


@dataclass(frozen=True, slots=True)
class FinishedDataset:
    """What a run has to publish."""

    run: Path
    files: tuple[PublishedFile, ...]
    card: str
    """The text of README.md, with its licence in the header."""
    licence: str

    def rows(self, status: str) -> int:
        """Rows of the tables with that status; rows for training say the same again and are not counted."""
        return sum(file.rows or 0 for file in self.files if file.status == status and file.name.endswith(".parquet"))


def finished_dataset(run: Path, licence: str | None = None) -> FinishedDataset:
    """Read a run's dataset and check it against what the run wrote down.

    Args:
        run: the run's folder.
        licence: the licence to publish under; None takes the card's.

    Raises:
        UsageError: the run is not finished, or no licence was chosen.
        InputError: a file is not as the run wrote it, or calls something verified that is not.
    """
    folder = run / "dataset"
    if not (folder / "README.md").exists():
        raise UsageError(f"{run} has no finished dataset: dataset/README.md is missing; run the same command again to finish it")
    card, chosen = _card((folder / "README.md").read_text(encoding="utf-8"), licence)
    hashes = _hashes(run)
    known = {status: _ids(run / name) for status, name in SYNTHESIS_FILES.items() if (run / name).exists()}
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name == "README.md" or (name == "manifest.json" and hashes):
            files.append(PublishedFile(name, path, len(card.encode()) if name == "README.md" else path.stat().st_size, "", None))
            continue
        if name not in hashes and name not in {f"{status}.parquet" for status in known}:
            raise InputError(f"{path} was not written by this run: move it away before the dataset is published")
        if name in hashes and _sha256(path) != hashes[name]:
            raise InputError(f"{path} is not as the run wrote it: its SHA-256 differs from the one that the run recorded")
        status = _status_of(name)
        files.append(PublishedFile(name, path, path.stat().st_size, status, _checked_rows(path, status, known.get(status))))
    lost = sorted(set(hashes) - {file.name for file in files})
    if lost:
        raise InputError(f"{folder / lost[0]} is missing: the run wrote {len(hashes)} files, {len(lost)} of them are gone")
    return FinishedDataset(run, tuple(files), card, chosen)


def _card(text: str, licence: str | None) -> tuple[str, str]:
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    header: dict[str, Any] = dict(yaml.safe_load(match[1]) or {}) if match else {}
    chosen = licence or str(header.get("license") or "")
    if not licence and chosen in UNSET:
        raise UsageError(
            f"no licence was chosen (the card says '{chosen or 'nothing'}'): name it with --license, e.g. cc-by-4.0; it must "
            "allow what the images and texts inside allow"
        )
    header["license"] = chosen
    body = text[match.end() :] if match else text
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n{body}", chosen


def _hashes(run: Path) -> dict[str, str]:
    """File of the dataset → SHA-256, as the run recorded it."""
    if (manifest := run / "dataset" / "manifest.json").exists():
        return {name: str(entry["sha256"]) for name, entry in orjson.loads(manifest.read_bytes())["files"].items()}
    if (statistics := run / "statistics.json").exists():
        files: Mapping[str, str] = orjson.loads(statistics.read_bytes())["files"]
        return {name.removeprefix("dataset/"): found for name, found in files.items() if name.startswith("dataset/")}
    raise UsageError(f"{run} says nowhere which files it wrote: it has no dataset/manifest.json and no statistics.json")


def _status_of(name: str) -> str:
    first = name.split("/", maxsplit=1)[0].removesuffix(".parquet")
    return first if first in STATUSES else "verified"


def _ids(path: Path) -> set[str]:
    with path.open("rb") as lines:
        return {orjson.loads(line)["qa_id"] for line in lines}


def _checked_rows(path: Path, status: str, known: set[str] | None) -> int:
    rows = 0
    for id_, said in _rows(path, status):
        rows += 1
        if said != status:
            raise InputError(f"{path}, row {rows}: a row among the {status} ones says that it is '{said}'")
        if known is not None and id_ is not None and id_ not in known:
            raise InputError(f"{path}, row {rows}: the run has no {status} item '{id_}'")
    return rows


def _rows(path: Path, status: str) -> Iterator[tuple[str | None, str]]:
    """(the item's id, None where a row has none; its status) of each row. A row for training that is proven says no status."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.ParquetFile(path)
        flat = "status" in table.schema_arrow.names
        columns = ["qa_id", "status"] if flat else ["verification"]
        for batch in table.iter_batches(columns=columns):
            for row in batch.to_pylist():
                yield (row["qa_id"], row["status"]) if flat else (None, row["verification"]["status"])
        return
    with path.open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            more = row.get("extra_info")
            found = row.get("status") or (more.get("status") if isinstance(more, dict) else None)
            yield None, str(found or "verified")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
