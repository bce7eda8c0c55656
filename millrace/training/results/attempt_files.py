"""Results on disk: one JSON file for each attempt, written whole or not at all; tables made from them; what earlier runs drew."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millrace.compat.experiment_files import OURS, original_names, our_set
from millrace.errors import InputError
from millrace.run.journal import read_json, write_atomic, write_json
from millrace.training.experiments import PlannedRun
from millrace.training.foreground import Attempt
from millrace.training.launch import in_force
from millrace.training.parameters import Value, spell

SCHEMA = "millrace.training/1"


def attempt_record(run: PlannedRun, attempt: Attempt, number: int, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Everything known of one attempt, failed ones too: their energy was spent as well."""
    return {
        "schema": SCHEMA,
        "id": run.id,
        "attempt": number,
        "experiment": run.experiment,
        "title": run.title,
        "mode": run.mode,
        "workload": run.program.name,
        **in_force(run.job, run.program),
        **({"original": run.job.original} if run.job.original else {}),
        "hyperparameters": run.hyperparameters,
        "hyperparameters_spelled": {name: spell(value) for name, value in run.hyperparameters.items()},
        "mutated": list(run.mutated),
        "ok": attempt.verdict.ok,
        "failure": attempt.verdict.failure,
        "failure_detail": attempt.verdict.detail,
        "written_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **attempt.record,
        **extra,
    }


def save_attempt(folder: Path, record: dict[str, Any]) -> Path:
    """Put the record beside the others of its run."""
    path: Path = folder / record["id"] / f"attempt-{record['attempt']}.json"
    write_json(path, record)
    return path


def attempts_of(folder: Path, run_id: str) -> list[dict[str, Any]]:
    """The attempts at one run so far, in order."""
    files = (folder / run_id).glob("attempt-*.json")
    return sorted((read_json(path) for path in files), key=lambda record: int(record["attempt"]))


def all_attempts(folder: Path) -> list[dict[str, Any]]:
    """Every attempt of a run folder, by time."""
    return sorted((read_json(path) for path in folder.glob("*/attempt-*.json")), key=lambda record: str(record["written_at"]))


def final_attempts(attempts: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last attempt at each run, by number: times of day may have been set in between."""
    last: dict[str, dict[str, Any]] = {}
    for record in attempts:
        if record["id"] not in last or int(record["attempt"]) >= int(last[record["id"]]["attempt"]):
            last[record["id"]] = record
    return list(last.values())


def tidy_rows(attempts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One flat row for each attempt; unknown is empty."""
    rows = []
    for record in attempts:
        comparison = record.get("comparison") or {}
        slowdown = comparison.get("slowdown") or {}
        throughput = comparison.get("throughput") or {}
        row: dict[str, Any] = {
            name: record.get(name)
            for name in (
                "id", "attempt", "written_at", "experiment", "mode", "workload", "ok", "failure", "duration_s", "returncode",
                "cpu_s", "peak_bytes",
            )
        }  # fmt: skip
        row |= {f"hyperparameter_{name}": value for name, value in record["hyperparameters"].items()}
        row |= {f"metric_{name}": value for name, value in (record.get("metrics") or {}).items()}
        for reading in record.get("energy") or []:
            row[f"energy_{reading['domain']}_j"] = reading["joules"]
            row[f"energy_{reading['domain']}_kind"] = reading["kind"]
        row |= {f"slowdown_{name}": slowdown.get(name) for name in ("estimate", "low", "high", "pairs")}
        row |= {f"throughput_{name}": throughput.get(name) for name in ("foreground", "background", "sum")}
        backgrounds = record.get("backgrounds") or []
        row["backgrounds"] = len(backgrounds)
        for name in ("iterations", "epochs", "samples", "cpu_s"):
            values = [one[name] for one in backgrounds if one.get(name) is not None]
            row[f"background_{name}"] = sum(values) if backgrounds and len(values) == len(backgrounds) else None
        overlaps = [one["overlap_fraction"] for one in backgrounds if one.get("overlap_fraction") is not None]
        row["background_overlap"] = sum(overlaps) / len(overlaps) if overlaps else None
        row["containment"] = (record.get("containment") or {}).get("name")
        rows.append(row)
    return rows


def original_rows(attempts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same under the original project's column names. Peak power, temperature and use of a GPU are not measured: empty."""
    rows = []
    for record in final_attempts(attempts):
        readings = record.get("energy") or []
        # A package that could not be read makes the sum unknown; it is not left out of it.
        kept = [one for one in readings if "measured" in (one["kind"], one.get("missing_from"))]
        energy = {one["domain"]: one["joules"] for one in kept}
        original = record.get("original") or _original_of(record["workload"])
        repo, _, model = (original or record["workload"]).rpartition("/")
        passed = original_names(original, record["hyperparameters"]) if original else record["hyperparameters"]
        gpu, window_s = _sum(energy, "gpu"), next((one["window_s"] for one in kept if one["domain"].startswith("gpu:")), None)
        rows.append(
            {
                "experiment_id": record["id"] + ("_parallel" if record["mode"] == "parallel" else ""),
                "timestamp": record["written_at"],
                "repository": repo or record["workload"],
                "model": model or record["workload"],
                "training_success": record["ok"],
                "duration_seconds": record.get("duration_s"),
                "retries": record["attempt"] - 1,
                **{f"hyperparam_{name}": value for name, value in sorted(passed.items())},
                **{f"perf_{name}": value for name, value in sorted((record.get("metrics") or {}).items())},
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


def write_tables(folder: Path, attempts: Sequence[dict[str, Any]], *, original: bool) -> list[Path]:
    """`results.csv`, `results.parquet`, and `summary.csv` with the original's names if asked for."""
    if not attempts:
        return []
    rows = tidy_rows(attempts)
    written = [_write_csv(folder / "results.csv", rows), _write_parquet(folder / "results.parquet", rows)]
    if original:
        old = original_rows(attempts)
        written.append(_write_csv(folder / "summary.csv", old, _in_original_order(_columns(old))))
    return written


def _columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> Path:
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, columns or _columns(rows), restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {name: "" if value is None else repr(value) if isinstance(value, float) else value for name, value in row.items()}
        )
    write_atomic(path, text.getvalue())
    return path


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
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
            if record["ok"]:
                yield record["workload"], record["mode"] == "parallel", record["hyperparameters"]
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
            repo, model = row.get(f"{prefix}repository"), str(row.get(f"{prefix}model") or "default")
            values = _with_prefix(row, f"{prefix}hyperparam_")
            if not repo or not values:
                continue
            named = str(row.get("experiment_id") or "").endswith("_parallel")
            parallel = bool(prefix) or named or row.get("mode") == "parallel" or row.get("is_parallel") in {"True", "1", True}
            yield (repo if repo == model else f"{repo}/{model}"), parallel, values  # as its own script
            if ours := our_set(repo, model, values):
                yield ours[0], parallel, ours[1]  # and as what does the same here


def _with_prefix(row: Mapping[str, Any], prefix: str) -> dict[str, Value]:
    return {key.removeprefix(prefix): value for key, value in row.items() if key.startswith(prefix) and value not in {"", None}}


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return table
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        logging.getLogger(__name__).debug("unreadable table", exc_info=True)
        raise InputError(f"earlier_results: {path} is not a table that can be read: {error}") from error
