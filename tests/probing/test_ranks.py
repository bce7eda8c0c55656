"""Real torchrun ranks: the same records for any number of them, through kills and broken models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.errors import RunFailed
from millrace.probing.claims import load_claims
from millrace.probing.ranks.launch import Counts, run_ranks
from millrace.probing.ranks.settlement import settle
from millrace.probing.ranks.units import plan_of
from millrace.probing.settings import ProbingConfig, TorchrunSettings
from millrace.records.outcome import FAILURES
from millrace.records.summaries import ProbingSummary
from millrace.run.journal import read_jsonl

COIN = "tests.probing.coin_baseline"


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    pytest.importorskip("millrace.digits.lake_build").build_lake(folder, images=60, pool="probe", seed=3, rows_per_shard=20)
    return folder


def probe(lake: Path, folder: Path, *, ranks: int = 1, **settings: Any) -> tuple[ProbingSummary, list[dict[str, Any]]]:
    baseline = {"name": COIN, **settings.pop("baseline", {})}
    torchrun = TorchrunSettings(nproc_per_node=ranks, max_restarts=settings.pop("max_restarts", 2))
    config = ProbingConfig(baseline=baseline, torchrun=torchrun, **{"failure_batch_size": 7, **settings})
    seen: list[Counts] = []
    run_ranks(config, lake, folder, folder / "logs", seen.append)
    target, max_empty = config.target_failure_count, config.max_empty_batches
    summary = settle(plan_of(config, lake), folder / "work", folder, target=target, max_empty=max_empty)
    records = [record for shard in sorted(folder.glob("shard-*.jsonl")) for record in read_jsonl(shard)]
    return summary, records


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_one_two_and_four_ranks_give_the_same_records_and_stop_exactly_at_the_target(lake: Path, tmp_path: Path) -> None:
    runs = [probe(lake, tmp_path / str(ranks), ranks=ranks, target_failure_count=100) for ranks in (1, 2, 4)]
    for summary, records in runs:
        assert summary.stop == "target"
        assert sum(record.get("outcome") in FAILURES for record in records) == 100
        assert records == runs[0][1]
        assert summary == runs[0][0]
    ids = [record["id"] for record in runs[0][1]]
    assert len(set(ids)) == len(ids)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_two_ranks_cover_every_image_exactly_once_and_say_that_the_lake_is_used_up(lake: Path, tmp_path: Path) -> None:
    summary, records = probe(lake, tmp_path, ranks=2, target_failure_count=10_000)
    assert summary.stop == "exhausted"
    assert summary.images == 60
    assert summary.came_in == 60 * 8
    assert summary.came_in == summary.went_out + sum(summary.dropped.values())
    pairs = [(record["image"]["image_id"], record["claim_id"]) for record in records]
    assert len(set(pairs)) == len(pairs)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_rank_that_is_killed_costs_nothing(lake: Path, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    bomb.touch()
    settings = {"ranks": 2, "target_failure_count": 60}
    _, killed = probe(lake, tmp_path / "a", baseline={"kill_once": str(bomb)}, **settings)
    _, undisturbed = probe(lake, tmp_path / "b", **settings)
    assert not bomb.exists()
    assert killed == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_broken_baseline_gives_infra_errors_and_no_failures(lake: Path, tmp_path: Path) -> None:
    broken = ("counting_object_instances", "spatial_absolute_position")
    summary, records = probe(lake, tmp_path, target_failure_count=None, sample_size=10, baseline={"raises_on": broken})
    assert summary.images == 10
    errors = [record for record in records if record.get("outcome") == "infra_error"]
    assert errors
    assert {record["claim_id"] for record in errors} == set(broken)
    assert all(record["failure_id"] is None and record["error"]["type"] == "RuntimeError" for record in errors)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_empty_units_end_a_run_when_asked_to(lake: Path, tmp_path: Path) -> None:
    everything = [claim.claim_id for claim in load_claims().claims]
    settings = {"target_failure_count": 5, "max_empty_batches": 3, "baseline": {"raises_on": everything}}
    summary, _ = probe(lake, tmp_path, ranks=2, **settings)
    assert summary.stop == "empty"
    assert summary.failures == 0
    assert summary.images == 21


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ranks_that_cannot_start_are_one_sentence(lake: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="no baseline named 'embeded'"):
        probe(lake, tmp_path, max_restarts=0, baseline={"name": "embeded"})
