"""The dataset: sharded parquet with the images inside, split by image, kinds of evidence apart, a card on top.

dataset/README.md                              the card; its header tells `datasets.load_dataset` what is where
dataset/manifest.json                          every file with its rows and SHA-256
dataset/<verified|judged|unverified>/<train|heldout>-00000.parquet
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.errors import ItemFailed, UsageError
from millrace.lake.reader import LakeReader
from millrace.lake.rows import LakeRow
from millrace.qa.checking.check_shards import rejection
from millrace.qa.dataset.columns import dataset_row, dataset_schema
from millrace.qa.dataset.dataset_card import CardFacts, dataset_card
from millrace.qa.settings import QaSettings
from millrace.qa.writing.case import row_of_source
from millrace.records.question import Item, RejectedQuestion
from millrace.records.summaries import DatasetFile, DatasetReport
from millrace.reporting.intervals import Rate
from millrace.run.ids import fraction_for
from millrace.run.journal import read_record, read_records, sync_folder, write_atomic, write_json, write_jsonl

GROUP_ROWS, GROUP_BYTES = 256, 32 << 20
"""A row group is written when it reaches either: the most that is held in memory per file."""


def split_of(item: Item, copy_group: str | None, qa: QaSettings) -> str:
    """The split of an image and of its near copies; the same for all its questions and in every run with this seed."""
    key = copy_group or item.image.key
    return "heldout" if fraction_for(qa.seed, key, "split") < qa.dataset.heldout_share else "train"


def write_dataset(
    settled: Sequence[Path | str],
    out: Path,
    rejected: Path,
    lake: Path | None,
    qa: QaSettings,
    facts: CardFacts,
    *,
    on_row: Callable[[int], None] | None = None,
) -> DatasetReport:
    """Write the dataset folder, all or nothing; one that is there already is only reported.

    Memory: one row group per file that is open (at most six) and a hash per image, whatever the number of questions.

    Args:
        settled: shards from `settle`.
        out: the folder to make.
        rejected: the file for items whose image has meanwhile gone.
        lake: the folder of images; None when the items embed them.
        qa: the settings.
        facts: what the card should tell beyond the rows.
        on_row: called with 1 for every row.

    Raises:
        UsageError: a folder that is no dataset of ours is in the way.
    """
    if (out / "manifest.json").exists():
        return read_record(out / "manifest.json", DatasetReport)
    if out.exists():
        raise UsageError(f"{out} is in the way and is no finished dataset; move it away or choose another --run-dir")
    building = out.with_name(f".{out.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    writers: dict[tuple[str, str], _SplitWriter] = {}
    lost: list[RejectedQuestion] = []
    count = _Count()
    for item, row in with_images(settled, lake, lost):
        place = item.verification.status, split_of(item, row.copy_group, qa)
        if place not in writers:
            writers[place] = _SplitWriter(building, *place, qa)
        writers[place].add(item, row.image_bytes)
        count.add(item, place)
        if on_row:
            on_row(1)
    files = {name: told for writer in writers.values() for name, told in writer.close().items()}
    report = count.report(out, lost, files)
    building.mkdir(parents=True, exist_ok=True)
    write_jsonl(rejected, lost)
    write_atomic(building / "README.md", dataset_card(report, qa, facts))
    write_json(building / "manifest.json", report)
    building.rename(out)
    sync_folder(out.parent)
    return report


def with_images(settled: Sequence[Path | str], lake: Path | None, lost: list[RejectedQuestion]) -> Iterator[tuple[Item, LakeRow]]:
    """Settled questions with the rows of their images; those whose image is gone are added to `lost`."""
    reader = LakeReader(lake) if lake is not None else None
    for shard in settled:
        for item in read_records(Path(shard), Item):
            try:
                yield item, row_of_source(item.source_a, item.id, reader)
            except ItemFailed as failure:
                lost.append(rejection(item, failure.reason, failure.detail, "dataset"))


class _SplitWriter:
    """The parquet files of one status and split."""

    def __init__(self, folder: Path, status: str, split: str, qa: QaSettings) -> None:
        self._folder = folder
        self._name = f"{status}/{split}"
        self._settings = qa.dataset
        self._schema = dataset_schema()
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[tuple[Item, bytes]] = []
        self._bytes = self._file_rows = self._file_bytes = 0
        self._files: dict[str, DatasetFile] = {}

    def add(self, item: Item, image: bytes) -> None:
        """Put a row into the current file."""
        self._waiting.append((item, image))
        self._bytes += len(image)
        self._file_rows += 1
        self._file_bytes += len(image)
        if len(self._waiting) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()
        if self._file_rows >= self._settings.rows_per_file or self._file_bytes >= self._settings.bytes_per_file:
            self._end_file()

    def close(self) -> dict[str, DatasetFile]:
        """Finish the last file; gives all files with their rows, bytes and SHA-256."""
        self._end_file()
        return self._files

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            path = self._path()
            path.parent.mkdir(parents=True, exist_ok=True)
            # Images are compressed already; everything else is text that shrinks to a fifth.
            compression = {name: "none" if name == "image.bytes" else "zstd" for name in _leaves(self._schema)}
            self._writer = pq.ParquetWriter(path, self._schema, compression=compression)
        self._writer.write_table(pa.Table.from_pylist([dataset_row(*one) for one in self._waiting], schema=self._schema))
        self._waiting, self._bytes = [], 0

    def _end_file(self) -> None:
        self._flush()
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        path = self._path()
        with path.open("rb") as file:
            digest = _digest(file)
        self._files[f"{self._name}-{len(self._files):05d}.parquet"] = DatasetFile(
            rows=self._file_rows, bytes=path.stat().st_size, sha256=digest
        )
        self._file_rows = self._file_bytes = 0

    def _path(self) -> Path:
        return self._folder / f"{self._name}-{len(self._files):05d}.parquet"


class _Count:
    """What is counted over the rows while they are written."""

    def __init__(self) -> None:
        self.splits: dict[str, Counter[str]] = {}
        self.types: Counter[str] = Counter()
        self.pipelines: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.images: dict[str, set[str]] = {}
        self.asked = self.failed = 0

    def add(self, item: Item, place: tuple[str, str]) -> None:
        status, split = place
        self.splits.setdefault(status, Counter())[split] += 1
        self.types[item.question_type] += 1
        self.pipelines[item.pipeline_name] += 1
        self.images.setdefault(split, set()).add(item.image.key)
        if item.question_type == "multiple_choice":
            self.answers[item.answer] += 1
        right = item.difficulty.baseline_correct
        self.asked += right is not None
        self.failed += right is False

    def report(self, out: Path, lost: Sequence[RejectedQuestion], files: dict[str, DatasetFile]) -> DatasetReport:
        rows = sum(counts.total() for counts in self.splits.values())
        return DatasetReport(
            path=out.name,
            seen=rows + len(lost),
            rows=rows,
            dropped=dict(sorted(Counter(record.reason for record in lost).items())),
            splits={status: dict(sorted(counts.items())) for status, counts in sorted(self.splits.items())},
            question_types=dict(sorted(self.types.items())),
            pipelines=dict(sorted(self.pipelines.items())),
            images={split: len(names) for split, names in sorted(self.images.items())},
            baseline=Rate(self.failed, self.asked).summary(),
            answers=dict(sorted(self.answers.items())),
            files=dict(sorted(files.items())),
        )


def _leaves(schema: pa.Schema) -> list[str]:
    """The dotted names of the columns that parquet stores."""
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    stored = pq.ParquetFile(pa.BufferReader(empty.getvalue())).schema
    return [stored.column(number).path for number in range(len(stored))]


def _digest(file: Any) -> str:
    found = sha256()
    while block := file.read(1 << 20):
        found.update(block)
    return found.hexdigest()
