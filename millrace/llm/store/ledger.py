"""What was called, how many tokens that took and what it cost: per stage, model and day.

One line per paid call, written together with the reply; at a clean end a process replaces its lines by their sums. Unknown is
null: a call whose tokens or price are unknown makes the sum of its row a lower bound, and the row says how many such calls it
has.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from pathlib import Path

import msgspec

from millrace.llm import Reply, Usage
from millrace.llm.store.segments import SegmentWriter, line_of, read_segment
from millrace.records.llm import LedgerRow
from millrace.run.journal import write_atomic

_decoder = msgspec.json.Decoder(LedgerRow)
_encoder = msgspec.json.Encoder()


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")


class Ledger:
    """This process's part of a run's ledger; `folder` None keeps it in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self._rows: dict[tuple[str, str, str], LedgerRow] = {}
        self._writer = SegmentWriter(folder, "ledger") if folder is not None else None
        self.replayed = 0
        """Answers taken from the journal: nothing was sent for them."""

    def paid(self, reply: Reply, stage: str) -> None:
        """One answer was paid for."""
        usage = reply.usage
        row = LedgerRow(
            day=_today(),
            stage=stage,
            model=reply.model,
            calls=1,
            requests=reply.attempts,
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cached_tokens=usage.cached_tokens or 0,
            cost_usd=reply.cost_usd or 0.0,
            unknown_cost=int(reply.cost_usd is None),
            unknown_tokens=int(usage.input_tokens is None or usage.output_tokens is None),
            cut_off=int(reply.finish == "length"),
            filtered=int(reply.filtered),
        )
        self._add(row)

    def _add(self, row: LedgerRow) -> None:
        name = (row.day, row.stage, row.model)
        self._rows[name] = self._rows[name].plus(row) if name in self._rows else row
        if self._writer is not None:
            self._writer.append(_encoder.encode(row))

    def thrown_away(self, usage: Usage, cost_usd: float | None, stage: str, model: str) -> None:
        """A reply came and could not be used."""
        self._add(
            LedgerRow(
                day=_today(),
                stage=stage,
                model=model,
                input_tokens=usage.input_tokens or 0,
                output_tokens=usage.output_tokens or 0,
                cached_tokens=usage.cached_tokens or 0,
                cost_usd=cost_usd or 0.0,
                discarded=1,
            )
        )

    @property
    def rows(self) -> list[LedgerRow]:
        """This process's sums."""
        return [self._rows[name] for name in sorted(self._rows)]

    def close(self) -> None:
        """Replace this process's lines by their sums."""
        if self._writer is None or not self._rows:
            return
        self._writer.close()
        write_atomic(self._writer.path, b"".join(line_of(_encoder.encode(row)) for row in self.rows))
        self._writer = None


def read_ledger(folders: Iterable[Path]) -> list[LedgerRow]:
    """The sums over all processes that wrote to `folders`, by day, stage and model."""
    rows: dict[tuple[str, str, str], LedgerRow] = {}
    for folder in folders:
        for path in sorted(folder.glob("ledger-*.log")):
            for _, _, payload in read_segment(path):
                if payload is not None:
                    row = _decoder.decode(payload)
                    name = (row.day, row.stage, row.model)
                    rows[name] = rows[name].plus(row) if name in rows else row
    return [rows[name] for name in sorted(rows)]
