"""What the bar says of chat models: from ledgers that grow, shrink to their sums and are torn at their end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from millrace.llm.store.segments import line_of
from millrace.llm.store.spent import SpentSoFar
from millrace.records.llm import LedgerRow
from millrace.run.progress import Progress, Spent


def row(calls: int = 1, *, cost: float | None = 0.01, requests: int = 1) -> bytes:
    """A line of a ledger."""
    return line_of(
        msgspec.json.encode(
            LedgerRow(
                day="2026-01-01",
                stage="write",
                model="m",
                calls=calls,
                requests=requests,
                input_tokens=900 * calls,
                output_tokens=100 * calls,
                cost_usd=cost or 0.0,
                unknown_cost=int(cost is None),
            )
        )
    )


def ledger(run: Path, name: str) -> Path:
    path = run / name / "ledger" / "ledger-1.log"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_what_was_spent_grows_with_the_ledgers_of_all_processes(tmp_path: Path) -> None:
    spent = SpentSoFar(tmp_path)
    assert spent() == Spent()
    first, second = ledger(tmp_path, "chat"), ledger(tmp_path, "judge")
    first.write_bytes(row())
    second.write_bytes(row(requests=3))
    assert spent() == Spent(2, 4, 2000, 0.02, 0)
    first.write_bytes(row() + row(cost=None))
    assert spent() == Spent(3, 5, 3000, 0.02, 1)
    first.write_bytes(row(calls=2, requests=2))
    assert spent() == Spent(3, 5, 3000, 0.02, 0), "sums in the place of lines are read from their beginning"


def test_a_torn_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    spent, path = SpentSoFar(tmp_path), ledger(tmp_path, "chat")
    whole = row()
    path.write_bytes(whole + whole[:20])
    assert spent().calls == 1
    path.write_bytes(whole + whole)
    assert spent().calls == 2


@pytest.mark.parametrize(
    ("spent", "words"),
    [
        (Spent(), ""),
        (Spent(1, 1, 12, 0.0, 1), "1 call, 12 tokens"),
        (Spent(315, 325, 402_000, 0.021, 0), "315 calls, 402 thousand tokens, $0.02, 3% sent again"),
        (Spent(2, 2, 1_500, 1234.5, 1), "2 calls, 1.5 thousand tokens, at least $1,234.50"),
        (Spent(5, 5, 2_340_000_000, 3.0, 0), "5 calls, 2.3 billion tokens, $3.00"),
    ],
)
def test_the_words_say_what_is_known(spent: Spent, words: str) -> None:
    assert spent.words() == words


def test_a_stages_line_says_what_the_stage_spent_and_not_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    now = [Spent(10, 10, 1000, 1.0, 0)]
    with Progress("full", spent=lambda: now[0]) as progress:
        with progress.stage("writing", 2, "shards") as bar:
            now[0] = Spent(14, 15, 3000, 1.5, 0)
            bar.advance(2)
            bar.note = "2 dropped"
        with progress.stage("checking", 1, "shards") as bar:
            bar.advance()
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("full: writing: 2 shards in ")
    assert first.endswith(" (2 dropped; 4 calls, 2.0 thousand tokens, $0.50, 20% sent again)")
    assert second.startswith("full: checking: 1 shard in ")
    assert second.endswith(" s")
