"""What two runs of the main job must have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from millrace.run.journal import read_jsonl


def records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Everything a run has to say, in an order that does not depend on files."""
    stages = ("probing", "filtering", "qa")
    found = {
        name: [line for path in sorted((folder / name).glob("shard-*.jsonl")) for line in read_jsonl(path)] for name in stages
    }
    rows = [row for path in sorted((folder / "dataset").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    return {**found, "dataset": sorted(rows, key=lambda row: str(row["id"]))}
