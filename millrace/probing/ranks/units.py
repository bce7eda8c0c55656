"""The order in which images are probed: units of work, the same for any number of ranks.

A unit is a run of rows in one row group of one parquet file, so reading it touches one place of the lake. Files are shuffled
once, drawn `parquet_sample_size` at a time, and the units of a draw are shuffled: what comes first is a fair sample of the draw
and the next draw is only opened when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pyarrow.parquet as pq

from millrace.errors import InputError
from millrace.lake.files import lake_files
from millrace.probing.settings import ProbingConfig
from millrace.run.ids import random_for


class Unit(msgspec.Struct, frozen=True):
    """Rows `start` to `stop` (exclusive, counted over the whole file) of `file`; `index` is its place in the order."""

    index: int
    file: Path
    start: int
    stop: int

    @property
    def images(self) -> int:
        """How many images the unit holds."""
        return self.stop - self.start


def units_of(
    files: Sequence[Path], *, seed: int, images_per_unit: int, files_per_draw: int | None, limit: int | None = None
) -> Iterator[Unit]:
    """Yield the units in the order of work; `limit` ends after that many images.

    Raises:
        InputError: a file is not parquet.
    """
    order = list(files)
    random_for(seed, "files").shuffle(order)
    step = files_per_draw or len(order) or 1
    index = taken = 0
    for draw, first in enumerate(range(0, len(order), step)):
        slices = [part for file in order[first : first + step] for part in _slices(file, images_per_unit)]
        random_for(seed, "units", str(draw)).shuffle(slices)
        for file, start, end in slices:
            stop = end if limit is None else min(end, start + limit - taken)
            if stop <= start:
                return
            yield Unit(index, file, start, stop)
            index += 1
            taken += stop - start


def _slices(file: Path, images: int) -> Iterator[tuple[Path, int, int]]:
    try:
        metadata = pq.read_metadata(file)
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as parquet ({error}); repair it or take it out of the lake") from error
    first = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        for start in range(0, rows, images):
            yield file, first + start, first + min(start + images, rows)
        first += rows


class UnitPlan:
    """The units by index, found as far as they are asked for."""

    def __init__(self, units: Iterator[Unit]) -> None:
        self._units = units
        self._known: list[Unit] = []

    def __getitem__(self, index: int) -> Unit | None:
        """The unit at `index`; None past the end."""
        while len(self._known) <= index:
            unit = next(self._units, None)
            if unit is None:
                return None
            self._known.append(unit)
        return self._known[index]


def plan_of(config: ProbingConfig, lake: Path) -> UnitPlan:
    """The order of work: in the ranks and in the flow the same."""
    units = units_of(
        lake_files(lake),
        seed=config.seed,
        images_per_unit=config.failure_batch_size,
        files_per_draw=config.parquet_sample_size,
        limit=None if config.target_failure_count else config.sample_size,
    )
    return UnitPlan(units)
