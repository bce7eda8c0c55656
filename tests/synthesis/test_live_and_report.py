"""What a run shows of itself: tallies that add up, a pace that is honest, a page that stands alone and hides nothing."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.config import load_config
from millrace.llm.estimate import paid_words
from millrace.records.llm import LedgerRow
from millrace.records.synthesis import SeedOutcome
from millrace.records.synthesis_counts import ShardTally, Summary
from millrace.run.journal import read_record, read_records, write_json
from millrace.synthesis.runs.live import Pace, at_the_end, markdown
from millrace.synthesis.runs.report import SynthesisReport, findings, render
from millrace.synthesis.runs.shard_plan import plan_shards
from millrace.synthesis.runs.summary import report_data, summarise
from millrace.synthesis.runs.synthesis_run import finish_run
from millrace.synthesis.runs.tally import FOLDER, Tallies, Tally, sum_of, tally_of
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.work_shard import synthesise_shard

SMALL: dict[str, Any] = {"max_depth": 4, "branching_factor": 2, "depth_threshold": 2, "seeds_per_shard": 4}


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small math run in the flow's folders, with a seed that fails and one that tries to be markup."""
    folder = tmp_path_factory.mktemp("run")
    seeds = ["primes", "", "<script>alert(1)</script> matrices", *(f"roots {n}" for n in range(7))]
    (folder / "seeds.json").write_text(json.dumps(seeds))
    config = SynthesisConfig(environment_mode="math", seeds=folder / "seeds.json", **SMALL)
    plan = plan_shards(config, folder / "synthesis")
    for path in plan.shards:
        synthesise_shard(config, path, plan.result_of(path))
    counts = msgspec.structs.replace(finish_run(config, plan, folder), seconds=4.0, work_seconds=3.0)
    write_json(folder / "config.json", {"synthesis": config.model_dump(mode="json")})
    write_json(folder / "summary.json", summarise(folder, "finished", counts, 2.0))
    return folder


@pytest.fixture(scope="module")
def data(run_dir: Path) -> SynthesisReport:
    """The report's data of that run; its config is read back from the run itself."""
    config = load_config(SynthesisConfig, run_dir / "config.json")
    return report_data(config, run_dir, read_record(run_dir / "summary.json", Summary))


def test_the_tallies_of_all_shards_say_what_the_journals_say(run_dir: Path) -> None:
    counts = Tallies(run_dir / "synthesis" / FOLDER).read()
    shards = sorted((run_dir / "synthesis" / "shards").glob("*.jsonl"))
    records = [record for path in shards for record in read_records(path, SeedOutcome)]
    expected = Tally()
    for record in records:
        expected.add(record)
    assert timeless(counts) == timeless(expected.counts)
    assert counts.seeds == 10
    assert counts.failed == {"seed_empty": 1}
    assert 0 < sum(counts.spans.values()) <= counts.seconds * 1.01


def timeless(counts: ShardTally) -> ShardTally:
    return msgspec.structs.replace(counts, spans={}, seconds=0)


def test_a_shard_taken_up_again_counts_what_was_done_before(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode="math", number_of_seed=4, **SMALL)
    plan = plan_shards(config, tmp_path)
    path = plan.result_of(plan.shards[0])
    whole = synthesise_shard(config, plan.shards[0], path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.with_name(path.name + ".part").write_bytes(b"".join(lines[:2]))
    path.unlink()
    tally_of(path).unlink()
    again = synthesise_shard(config, plan.shards[0], path)
    assert timeless(again) == timeless(whole)
    assert synthesise_shard(config, plan.shards[0], path).items == whole.items  # a finished one is only counted


def test_tallies_see_a_file_that_has_changed(tmp_path: Path) -> None:
    tallies = Tallies(tmp_path)
    assert tallies.read().seeds == 0
    write_json(tmp_path / "shard-00000.json", {"seeds": 3, "reasons": {"duplicate": 1}})
    write_json(tmp_path / "shard-00001.json", {"seeds": 4, "reasons": {"duplicate": 2, "no_leak": 1}})
    assert tallies.read().seeds == 7
    write_json(tmp_path / "shard-00001.json", {"seeds": 5, "reasons": {}})
    assert (tallies.read().seeds, tallies.read().reasons) == (8, {"duplicate": 1})


def test_the_pace_counts_this_attempt_only_and_forgets_what_is_old() -> None:
    pace = Pace(seeds=1_000, done=500, now=0.0)
    assert (pace.overall, pace.recent, pace.left_s) == (None, None, None)
    for second in range(1, 101):
        pace.update(500 + 2 * min(second, 50), now=float(second))
    assert pace.overall == pytest.approx(1.0)
    assert pace.left_s == pytest.approx(400.0)
    assert pace.recent is None  # nothing was done for 50 seconds


def test_the_artifact_says_accept_rate_reasons_pace_and_cost() -> None:
    counts = sum_of([ShardTally(seeds=40, items=90, rejected=10, statuses={"verified": 90}, reasons={"no_leak": 7, "replay": 3})])
    pace = Pace(seeds=100, done=0, now=0.0)
    pace.update(40, now=20.0)
    row = LedgerRow(day="2026-01-01", stage="explore", model="m", calls=3, input_tokens=10, output_tokens=5, cost_usd=0.25)
    text = markdown(counts, pace, [row])
    for said in (
        "40 of 100",
        "2.00 now",
        "30\u00a0s (estimate)",
        "90.0\u00a0% of 100",
        "| no leak | 7 | 7.0\u00a0% |",
        "$0.2500 for 3",
    ):
        assert said in text, said
    assert "unknown (estimate)" in markdown(sum_of([]), Pace(5, 0), [])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "no model was asked"),
        ([(2, 0, 0.5)], "$0.5000 for 2"),
        ([(2, 0, 0.5), (2, 1, 0.1)], "at least $0.6000"),
        ([(2, 2, 0.0)], "price unknown"),
    ],
)
def test_an_unknown_price_is_never_a_cost_of_nothing(rows: list[tuple[int, int, float]], said: str) -> None:
    ledger = [
        LedgerRow(day="2026-01-01", stage="write", model="m", calls=calls, unknown_cost=unknown, cost_usd=usd)
        for calls, unknown, usd in rows
    ]
    assert said in paid_words(ledger)


def test_what_a_run_will_have_cost_is_an_estimate_by_its_own_answers_or_unknown() -> None:
    pace = Pace(seeds=100, done=20)
    row = LedgerRow(day="2026-01-01", stage="write", model="m", calls=50, cost_usd=1.5)
    assert at_the_end(pace, [row]) == "about $7.50 (estimate, by 50 answers for 20 seeds)"
    for rows in ([], [msgspec.structs.replace(row, unknown_cost=1)], [msgspec.structs.replace(row, calls=5)]):
        assert at_the_end(pace, rows) == "unknown"
    assert at_the_end(Pace(seeds=100, done=0), [row]) == "unknown"


class Page(HTMLParser):
    """Which elements a page has, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            f"{name}={value}" for name, value in attrs if name in {"src", "data", "action"} or (name == "href" and tag == "link")
        ]


def test_the_page_stands_alone_shows_every_figure_and_escapes_what_comes_from_outside(data: SynthesisReport) -> None:
    text = render(data)
    page = Page()
    page.feed(text)
    assert "script" not in page.tags
    assert page.loads == []
    assert "<script>alert" not in text
    assert f"{data.items['verified']}</div>" in text
    assert "✓ adds up" in text
    assert data.missing == 0
    for example in data.gallery:
        assert example.qa_id in text
        assert len(example.hops) >= 2
        assert all(passed for _, passed, _ in example.checks)
    for name in (*data.rejected, *data.kinds, *data.spans):
        assert name.replace("_", " ") in text
    assert "seed empty" in text
    assert findings(data)[0].startswith(f"{data.kept} questions came of 10 seeds")


def test_every_kind_of_question_comes_before_a_second_of_the_same(data: SynthesisReport) -> None:
    kinds = [example.kind for example in data.gallery]
    assert len(set(kinds)) == min(len(kinds), len(data.kinds))
    assert len({example.qa_id for example in data.gallery}) == len(data.gallery)


def test_a_run_without_a_single_question_has_a_page_too(data: SynthesisReport) -> None:
    import msgspec

    empty = msgspec.structs.replace(
        data, items={}, candidates=0, rejected={}, kinds={}, hops={}, median_hops=None, templates=0, top_templates={},
        answers=0, top_answers={}, gallery=(), spans={}, wall_s=None, languages={}, seed_match={},
    )  # fmt: skip
    text = render(empty)
    assert "not measured" in text
    assert "None was." in text
