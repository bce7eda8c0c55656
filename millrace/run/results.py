"""What a run has left in its folder, as tables: outcomes, failures, items, rates. Reads files and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from millrace.errors import InputError
from millrace.records.summaries import ProbingSummary
from millrace.run.journal import Json, Row, read_json, read_jsonl, read_record

if TYPE_CHECKING:
    import pyarrow as pa


def open_run(path: Path | str) -> RunResults:
    """The results in a run's folder.

    Raises:
        InputError: it is no run's folder.
    """
    return RunResults(Path(path))


class RunResults:
    """A run's folder, read. Tables are pyarrow's: `.to_pandas()` makes data frames of them.

    Covers: runs that go on (finished shards are read). Does not cover: values of different types under one name, which become
    JSON texts.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        if not (self.path / "config.json").exists():
            raise InputError(f"{path} is no run's folder: it has no config.json")

    def __repr__(self) -> str:
        states = ", ".join(f"{name} {state}" for name, state in self.states.items())
        return f"RunResults({str(self.path)!r}: {states})"

    @property
    def states(self) -> dict[str, str]:
        """By stage: `running`, `finished`, `short` (of its target) or `failed`."""
        flows = read_json(self.path / "manifest.json").get("flows", {})
        return {name: entry.get("state", "running") for name, entry in flows.items()}

    @property
    def config(self) -> Row:
        """The settings, by stage."""
        return dict(read_json(self.path / "config.json"))

    def summary(self, stage: str) -> Row:
        """A stage's own summary.

        Raises:
            InputError: the stage is not complete.
        """
        return dict(read_json(self._complete(stage)))

    def _complete(self, stage: str) -> Path:
        kept = self.path / stage / "summary.json"
        if not kept.exists():
            raise InputError(f"{stage} is not complete in {self.path}")
        return kept

    def outcomes(self) -> pa.Table:
        """A row for each claim on each image: what was asked, what the model said, what was right, and the outcome."""
        return _table(record for record in self._shards("probing") if record.get("kind") == "outcome")

    def failures(self) -> pa.Table:
        """A row for each selected failure, with the question pipeline that it was routed to."""
        return _table(self._shards("filtering"))

    def items(self) -> pa.Table:
        """A row for each finished question, with its answer, its checks and its lineage."""
        synthesised = self.path / "qa.jsonl"
        return _table(read_jsonl(synthesised)) if synthesised.exists() else _table(self._shards("qa"))

    def rates(self) -> pa.Table:
        """The failure rate of each claim with its 95 % interval (Wilson): claim, n, failures, rate, low, high."""
        from millrace.reporting.intervals import rate_of

        claims = read_record(self._complete("probing"), ProbingSummary).claims
        return _table({"claim": claim, **to_builtins(rate_of(outcomes).summary())} for claim, outcomes in sorted(claims.items()))

    def _shards(self, stage: str) -> Iterator[Row]:
        for shard in sorted((self.path / stage).glob("shard-*.jsonl")):
            yield from read_jsonl(shard)


def _table(records: Iterable[Row]) -> pa.Table:
    """Rows of records: nested records as `outer.inner`, everything else that is no plain value as JSON text."""
    import pyarrow as pa

    rows = [_flat(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns: dict[str, list[Json]] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 and kinds != {int, float}:
            values = [None if value is None else _text(value) for value in values]
        columns[name] = values
    return pa.table(columns)


def _flat(record: Row, prefix: str = "", depth: int = 0) -> Row:
    flat: Row = {}
    for name, value in record.items():
        if isinstance(value, dict) and depth == 0 and value:
            flat |= _flat(value, f"{name}.", depth + 1)
        elif isinstance(value, dict | list):
            flat[f"{prefix}{name}"] = _text(value)
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _text(value: Any) -> str:
    import orjson

    return value if isinstance(value, str) else orjson.dumps(value).decode()
