"""Attempts as tables on disk: `results.csv`, `results.parquet`, and `summary.csv` with the original project's column names."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from millrace.compat.experiment_files import OURS, original_names
from millrace.records.training.attempt import AttemptRecord, known
from millrace.records.training.events import Number, Value
from millrace.run.journal import write_atomic
from millrace.training.results.attempt_files import final_attempts

Row = dict[str, Value | None]
"""A flat row: a column for each hyperparameter, metric and energy domain that there is. None: unknown, an empty cell."""


def tidy_rows(attempts: Sequence[AttemptRecord]) -> list[Row]:
    """One flat row for each attempt; unknown is empty."""
    rows = []
    for record in attempts:
        row: Row = {
            "id": record.id,
            "attempt": record.attempt,
            "written_at": record.written_at,
            "experiment": record.experiment,
            "mode": record.mode,
            "workload": record.workload,
            "ok": record.ok,
            "failure": record.failure,
            "duration_s": known(record.duration_s),
            "returncode": known(record.returncode),
            "cpu_s": known(record.cpu_s),
            "peak_bytes": known(record.peak_bytes),
        }
        row |= {f"hyperparameter_{name}": value for name, value in record.hyperparameters.items()}
        row |= {f"metric_{name}": value for name, value in (record.metrics or {}).items()}
        for reading in record.energy or []:
            row[f"energy_{reading.domain}_j"] = reading.joules
            row[f"energy_{reading.domain}_kind"] = reading.kind
        compared = record.comparison or None
        slowdown, throughput = (None, None) if compared is None else (compared.slowdown, compared.throughput)
        row |= {f"slowdown_{name}": getattr(slowdown, name, None) for name in ("estimate", "low", "high", "pairs")}
        row |= {f"throughput_{name}": getattr(throughput, name, None) for name in ("foreground", "background", "sum")}
        backgrounds = record.backgrounds or []
        row["backgrounds"] = len(backgrounds)
        row["background_iterations"] = _all_of([one.iterations for one in backgrounds])
        row["background_epochs"] = _all_of([one.epochs for one in backgrounds])
        row["background_samples"] = _all_of([one.samples for one in backgrounds])
        row["background_cpu_s"] = _all_of([one.cpu_s for one in backgrounds])
        overlaps = [one.overlap_fraction for one in backgrounds if one.overlap_fraction is not None]
        row["background_overlap"] = sum(overlaps) / len(overlaps) if overlaps else None
        row["containment"] = record.containment.name if record.containment else None
        rows.append(row)
    return rows


def _all_of(values: Sequence[Number | None]) -> Number | None:
    """The sum of all backgrounds' figures; None where one is unknown, or there is none."""
    those = [value for value in values if value is not None]
    return sum(those) if values and len(those) == len(values) else None


def original_rows(attempts: Sequence[AttemptRecord]) -> list[Row]:
    """The same under the original project's column names. Peak power, temperature and use of a GPU are not measured: empty."""
    rows = []
    for record in final_attempts(attempts):
        # A package that could not be read makes the sum unknown; it is not left out of it.
        kept = [one for one in record.energy or [] if "measured" in (one.kind, one.missing_from)]
        energy = {one.domain: one.joules for one in kept}
        original = record.original or _original_of(record.workload)
        repo, _, model = (original or record.workload).rpartition("/")
        passed = original_names(original, record.hyperparameters) if original else record.hyperparameters
        gpu, window_s = _sum(energy, "gpu"), next((one.window_s for one in kept if one.domain.startswith("gpu:")), None)
        rows.append(
            {
                "experiment_id": record.id + ("_parallel" if record.mode == "parallel" else ""),
                "timestamp": record.written_at,
                "repository": repo or record.workload,
                "model": model or record.workload,
                "training_success": record.ok,
                "duration_seconds": known(record.duration_s),
                "retries": record.attempt - 1,
                **{f"hyperparam_{name}": value for name, value in sorted(passed.items())},
                **{f"perf_{name}": value for name, value in sorted((record.metrics or {}).items())},
                **dict.fromkeys(ORIGINAL_ENERGY),
                "energy_cpu_pkg_joules": _sum(energy, "cpu_package"),
                "energy_cpu_ram_joules": _sum(energy, "dram"),
                "energy_cpu_total_joules": _sum(energy, "cpu_package", "dram"),
                "energy_gpu_avg_watts": gpu / window_s if gpu is not None and window_s else None,
                "energy_gpu_total_joules": gpu,
            }
        )
    return rows


ORIGINAL_ENERGY = (
    "energy_cpu_pkg_joules", "energy_cpu_ram_joules", "energy_cpu_total_joules", "energy_gpu_avg_watts", "energy_gpu_max_watts",
    "energy_gpu_min_watts", "energy_gpu_total_joules", "energy_gpu_temp_avg_celsius", "energy_gpu_temp_max_celsius",
    "energy_gpu_util_avg_percent", "energy_gpu_util_max_percent",
)  # fmt: skip
"""The original's energy columns, in its order."""


def _original_of(workload: str) -> str | None:
    """The repository/model that a workload of ours does the same as, where it is one and not a stand-in."""
    same = [f"{repo}/{model}" for (repo, model), (name, difference) in OURS.items() if name == workload and difference is None]
    return same[0] if same else None


def _in_original_order(names: Sequence[str]) -> list[str]:
    """The original's order: what names a run, hyperparameters, metrics, energy; each of the two in the middle by name."""
    kinds = ("hyperparam_", "perf_", "energy_")
    first = [name for name in names if not name.startswith(kinds)]
    return first + [name for kind in kinds[:2] for name in sorted(names) if name.startswith(kind)] + list(ORIGINAL_ENERGY)


def _sum(energy: Mapping[str, float | None], *prefixes: str) -> float | None:
    values = [joules for domain, joules in energy.items() if domain.split(":")[0] in prefixes and " by " not in domain]
    return sum(value for value in values if value is not None) if values and None not in values else None


def write_tables(folder: Path, attempts: Sequence[AttemptRecord], *, original: bool) -> list[Path]:
    """`results.csv`, `results.parquet`, and `summary.csv` with the original's names if asked for."""
    if not attempts:
        return []
    rows = tidy_rows(attempts)
    written = [_write_csv(folder / "results.csv", rows), _write_parquet(folder / "results.parquet", rows)]
    if original:
        old = original_rows(attempts)
        written.append(_write_csv(folder / "summary.csv", old, _in_original_order(_columns(old))))
    return written


def _columns(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str] | None = None) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or _columns(rows), restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: "" if value is None else repr(value) if isinstance(value, float) else value for name, value in row.items()}
        )
    write_atomic(path, text.getvalue())
    return path


def _write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = _columns(rows)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:
            values = [float(value) if value is not None else None for value in values]
        elif len(kinds) > 1:
            values = [str(value) if value is not None else None for value in values]
        columns[name] = pa.array(values)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    write_atomic(path, sink.getvalue().to_pybytes())
    return path
