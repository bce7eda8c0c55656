"""Lakes to test with: a few real scenes, and tables of every kind of image column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.lake.build import build_lake


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 60 digit scenes in three shards."""
    folder = tmp_path_factory.mktemp("scenes")
    build_lake(folder, images=60, pool="probe", seed=5, rows_per_shard=25)
    return folder


@pytest.fixture
def write_table(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns as a parquet file and returns its path."""

    def write(columns: dict[str, Any], name: str = "part.parquet", **options: Any) -> Path:
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, tmp_path / name, **options)
        return tmp_path / name

    return write
