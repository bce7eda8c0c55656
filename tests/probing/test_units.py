"""The order of work: the same for everyone, opened only as far as needed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.errors import InputError
from millrace.probing.ranks.units import Unit, UnitPlan, units_of


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = []
    for number, rows in enumerate([10, 7, 25, 1, 0]):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"n": list(range(rows))}), path, row_group_size=8)
        made.append(path)
    return made


def covered(units: list[Unit]) -> list[tuple[str, int]]:
    return sorted((unit.file.name, row) for unit in units for row in range(unit.start, unit.stop))


def test_every_row_is_in_exactly_one_unit(files: list[Path]) -> None:
    units = list(units_of(files, seed=1, images_per_unit=3, files_per_draw=None))
    rows = covered(units)
    assert len(rows) == 43
    assert len(set(rows)) == 43
    assert [unit.index for unit in units] == list(range(len(units)))
    assert all(1 <= unit.images <= 3 for unit in units)


def test_the_order_depends_on_the_seed_alone(files: list[Path]) -> None:
    first, again, other = (list(units_of(files, seed=seed, images_per_unit=3, files_per_draw=2)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert covered(first) == covered(other)


def test_the_next_draw_of_files_is_opened_only_when_the_first_is_used_up(files: list[Path], tmp_path: Path) -> None:
    units = list(units_of(files, seed=3, images_per_unit=4, files_per_draw=2))
    first_draw = {
        unit.file for unit in units[: next(i for i, u in enumerate(units) if len({v.file for v in units[: i + 1]}) > 2)]
    }
    assert len(first_draw) == 2
    later = [unit.file for unit in units if unit.file not in first_draw]
    plan = UnitPlan(units_of(files, seed=3, images_per_unit=4, files_per_draw=2))
    for path in set(later):
        path.unlink()  # a plan that opened it early would fail
    assert plan[0] == units[0]


def test_a_limit_is_the_exact_number_of_images(files: list[Path]) -> None:
    for limit in (1, 5, 43, 100):
        units = list(units_of(files, seed=1, images_per_unit=3, files_per_draw=None, limit=limit))
        assert sum(unit.images for unit in units) == min(limit, 43)


def test_a_plan_answers_none_past_its_end(files: list[Path]) -> None:
    plan = UnitPlan(units_of(files[:1], seed=1, images_per_unit=100, files_per_draw=None))
    assert plan[0] is not None
    assert plan[9] is None
    assert plan[1] is not None


def test_a_file_that_is_not_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match=r"x\.parquet cannot be read as parquet"):
        list(units_of([tmp_path / "x.parquet"], seed=1, images_per_unit=1, files_per_draw=None))
