"""What earlier runs drew: hyperparameter sets that must not come again."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable
from pathlib import Path

from millrace.compat.experiment_files import our_set
from millrace.errors import InputError
from millrace.training.parameters import Value
from millrace.training.results.attempt_files import all_attempts, final_attempts
from millrace.training.results.table_files import Row


def earlier_sets(paths: Iterable[Path]) -> dict[tuple[str, bool], list[dict[str, Value]]]:
    """Hyperparameter sets of earlier results, by (workload, with backgrounds): run folders, our tables, the original's CSV files.

    Raises:
        InputError: a path is none of these.
    """
    found: dict[tuple[str, bool], list[dict[str, Value]]] = {}
    for path in paths:
        for workload, parallel, values in _sets_in(path):
            found.setdefault((workload, parallel), []).append(values)
    return found


def _sets_in(path: Path) -> Iterable[tuple[str, bool, dict[str, Value]]]:
    if path.is_dir():
        stage = path / "training" if (path / "training").is_dir() else path
        for record in final_attempts(all_attempts(stage)):
            if record.ok:
                yield record.workload, record.mode == "parallel", record.hyperparameters
        return
    if not path.exists():
        raise InputError(f"earlier_results: there is no {path}")
    for row in _rows(path):
        if row.get("workload"):
            if values := _with_prefix(row, "hyperparameter_"):
                yield str(row["workload"]), row.get("mode") == "parallel", values
            continue
        # The original's own table; its raw data has a parallel run's foreground in columns of their own.
        for prefix in ("", "fg_"):
            repo, model = str(row.get(f"{prefix}repository") or ""), str(row.get(f"{prefix}model") or "default")
            values = _with_prefix(row, f"{prefix}hyperparam_")
            if not repo or not values:
                continue
            named = str(row.get("experiment_id") or "").endswith("_parallel")
            parallel = bool(prefix) or named or row.get("mode") == "parallel" or row.get("is_parallel") in {"True", "1", True}
            yield (repo if repo == model else f"{repo}/{model}"), parallel, values  # as its own script
            if ours := our_set(repo, model, values):
                yield ours[0], parallel, ours[1]  # and as what does the same here


def _with_prefix(row: Row, prefix: str) -> dict[str, Value]:
    return {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix) and value not in {"", None}}


def _rows(path: Path) -> list[Row]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table: list[Row] = pq.read_table(path).to_pylist()
        return table
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        logging.getLogger(__name__).debug("unreadable table", exc_info=True)
        raise InputError(f"earlier_results: {path} is not a table that can be read: {error}") from error
