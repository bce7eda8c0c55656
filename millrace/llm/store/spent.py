"""What a run has paid so far, read from its ledgers as they grow: cheap enough to be looked at every few seconds."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from millrace.llm.store.segments import read_segment
from millrace.records.llm import LedgerRow
from millrace.run.progress import Spent

_decoder = msgspec.json.Decoder(LedgerRow)


class SpentSoFar:
    """The sums over all processes of a run; each call reads only what has been added since the one before.

    Args:
        run_dir: the run's folder; its models' folders are found below it.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._read: dict[Path, tuple[int, Spent]] = {}
        """By ledger file: up to which byte it was read, and the sums of that."""
        self._lock = threading.Lock()

    def __call__(self) -> Spent:
        """The sums now. What cannot be read at this moment is read at the next."""
        with self._lock:
            for path in sorted(self._run_dir.glob("*/ledger/ledger-*.log")):
                try:
                    self._read[path] = self._grown(path)
                except OSError:
                    continue
            total = Spent()
            for _, spent in self._read.values():
                total = total.plus(spent)
            return total

    def _grown(self, path: Path) -> tuple[int, Spent]:
        read, spent = self._read.get(path, (0, Spent()))
        size = path.stat().st_size
        if size == read:
            return read, spent
        if size < read:  # a process that has ended put sums in the place of its lines
            read, spent = 0, Spent()
        for _, end, payload in read_segment(path, read):
            read = end
            if payload is not None:
                spent = spent.plus(_of(_decoder.decode(payload)))
        return read, spent


def _of(row: LedgerRow) -> Spent:
    return Spent(row.calls, row.requests, row.input_tokens + row.output_tokens, row.cost_usd, row.unknown_cost)
