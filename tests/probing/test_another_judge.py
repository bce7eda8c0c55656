"""Another judge on a finished run: the same answers, the judge alone is asked, and what became of the verdicts is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

import millrace
from millrace.cli import main
from millrace.config import Settings
from millrace.errors import RunFailed, UsageError
from millrace.lake.parquet import lake_files, stream_rows
from millrace.probing.asking_again.another_judge import rejudge_shard
from millrace.probing.asking_again.rejudge_command import CONFIG, flow_call
from millrace.probing.baselines import Completion
from millrace.probing.judges import Verdict, judge_settings, open_judge
from millrace.probing.ranks.probe_unit import Probe, probe_row
from millrace.probing.ranks.settlement import Tally, count_outcome, summary_of
from millrace.probing.settings import ProbingConfig
from millrace.records.outcome import PROBED_CLAIM, OutcomeRecord
from millrace.records.summaries import ProbingSummary
from millrace.run.journal import read_json, read_record, read_records, write_json, write_jsonl
from tests.probing.coin_baseline import BaselineSettings, CoinBaseline

COIN: dict[str, Any] = {"name": "tests.probing.coin_baseline", "raises_on": ["counting_object_instances"]}
STRICT = {"name": "tests.probing.test_another_judge"}


class JudgeSettings(Settings):
    """A judge for which nothing is right."""

    name: str = "tests.probing.test_another_judge"
    raises: bool = False


class StrictJudge:
    name = "strict"
    concurrency = 4

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings

    def judge(self, claim: Any, subject: Any, completion: Completion, row: Any) -> Verdict:
        if self._settings.raises:
            raise RuntimeError("the judge is out of order")
        outcome = "wrong" if completion.related else "wrong_abstain"
        return Verdict(outcome, kind="judged", explanation=completion.text, by="strict")


def open_judge_(settings: JudgeSettings) -> StrictJudge:
    return StrictJudge(settings)


globals()["open_judge"], _open = open_judge_, open_judge


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished probing of sixteen embedded pictures, judged by their annotation."""
    root = tmp_path_factory.mktemp("earlier")
    pytest.importorskip("millrace.digits.lake_build").build_lake(root / "lake", images=16, pool="probe", seed=3)
    config = ProbingConfig.model_validate({"lake": {"path": root / "lake"}, "baseline": COIN, "target_failure_count": None})
    baseline = CoinBaseline(BaselineSettings.model_validate(COIN))
    judge = _open(judge_settings({"name": "annotation"}))
    probe = Probe(config.claim_set(), baseline, judge, root / "lake", config.seed, config.unanswerable_share)
    rows = [row for file in lake_files(root / "lake") for row in stream_rows(file, lake=root / "lake")]
    records = [record for row in rows for record in probe_row(probe, row)]
    tally = Tally(images=len(rows))
    halves = records[: len(records) // 2], records[len(records) // 2 :]
    for number, half in enumerate(halves):
        (root / "run" / "probing").mkdir(parents=True, exist_ok=True)
        write_jsonl(root / "run" / "probing" / f"shard-{number:05d}.jsonl", half)
    for record in records:
        count_outcome(record, tally)
    summary = structs.replace(summary_of(tally, stop="exhausted", shards=2), lake=str(root / "lake"))
    write_json(root / "run" / "probing" / "summary.json", summary)
    write_json(root / "run" / "config.json", {"probing": config.model_dump(mode="json")})
    write_json(root / "run" / "manifest.json", {"schema": "millrace.run/1", "flows": {"probing": {}}})
    return root / "run"


def outcomes(run: Path) -> list[OutcomeRecord]:
    shards = sorted((run / "probing").glob("shard-*.jsonl"))
    lines = [line for shard in shards for line in read_records(shard, PROBED_CLAIM)]
    return [line for line in lines if isinstance(line, OutcomeRecord)]


def rejudged(earlier: Path, run: Path, judge: dict[str, Any], **changes: Any) -> ProbingSummary:
    settings = {**read_json(earlier / "config.json")["probing"], "judge": judge, "answers_of": str(earlier), **changes}
    millrace.probe(run, **settings)
    return read_record(run / "probing" / "summary.json", ProbingSummary)


def test_the_answers_are_kept_and_only_the_verdicts_change(earlier: Path, tmp_path: Path) -> None:
    summary = rejudged(earlier, tmp_path / "run", STRICT)
    before, now = outcomes(earlier), outcomes(tmp_path / "run")
    assert [one.id for one in now] == [one.id for one in before]
    for old, new in zip(before, now, strict=True):
        assert (new.baseline, new.prefilled, new.selectors, new.claim) == (old.baseline, old.prefilled, old.selectors, old.claim)
        if old.baseline is None:
            assert new == old, "what the model gave no answer to stays as it is"
        else:
            assert new.judge is not None
            assert (new.outcome, new.judge.by) == ("wrong" if old.baseline.related else "wrong_abstain", "strict")
            assert new.failure_id
    assert any(old.baseline is None for old in before)
    assert summary.failures == sum(one.baseline is not None for one in now)
    assert (summary.images, summary.shards) == (16, 2)


def test_the_summary_says_what_became_of_the_earlier_verdicts(earlier: Path, tmp_path: Path) -> None:
    again = rejudged(earlier, tmp_path / "run", STRICT).judged_again
    assert again
    pairs = [
        (old.outcome.value, new.outcome.value)
        for old, new in zip(outcomes(earlier), outcomes(tmp_path / "run"), strict=True)
        if old.baseline is not None
    ]
    assert again.n == len(pairs)
    assert again.same == sum(old == new for old, new in pairs)
    assert {(old, new): n for old, counts in again.became.items() for new, n in counts.items()} == Counter(pairs)
    assert (again.before, again.run) == ("annotation", str(earlier))


def test_the_same_judge_says_the_same(earlier: Path, tmp_path: Path) -> None:
    summary = rejudged(earlier, tmp_path / "run", {"name": "annotation"})
    assert summary.judged_again
    assert (summary.judged_again.same, summary.judged_again.kappa) == (summary.judged_again.n, 1.0)
    for shard in ("shard-00000.jsonl", "shard-00001.jsonl"):
        assert (tmp_path / "run" / "probing" / shard).read_bytes() == (earlier / "probing" / shard).read_bytes()


def test_a_shard_that_is_there_is_not_judged_again(earlier: Path, tmp_path: Path) -> None:
    config = {**read_json(earlier / "config.json")["probing"], "judge": STRICT}
    shard, out = earlier / "probing" / "shard-00000.jsonl", tmp_path / "shard-00000.jsonl"
    lines = rejudge_shard(shard, out, earlier.parent / "lake", config)
    first = out.stat().st_mtime_ns
    broken = {**config, "judge": {**STRICT, "raises": True}}
    assert rejudge_shard(shard, out, earlier.parent / "lake", broken) == lines
    assert out.stat().st_mtime_ns == first


def test_a_judge_that_breaks_is_no_failure_of_the_model(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="infra_error"):
        rejudged(earlier, tmp_path / "run", {**STRICT, "raises": True})
    now = outcomes(tmp_path / "run")
    assert {one.outcome.value for one in now} == {"infra_error"}
    assert all(one.failure_id is None for one in now)


def test_a_picture_that_has_changed_is_not_judged(earlier: Path, tmp_path: Path) -> None:
    pytest.importorskip("millrace.digits.lake_build").build_lake(tmp_path / "other", images=16, pool="probe", seed=4)
    other = tmp_path / "earlier"
    for path in ("probing/shard-00000.jsonl", "probing/shard-00001.jsonl", "config.json", "manifest.json"):
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (other / path).write_bytes((earlier / path).read_bytes())
    summary = read_record(earlier / "probing" / "summary.json", ProbingSummary)
    write_json(other / "probing" / "summary.json", structs.replace(summary, lake=str(tmp_path / "other")))
    with pytest.raises(RunFailed, match="infra_error"):
        rejudged(other, tmp_path / "run", STRICT)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 7}, "probing.seed is not that of"),
        ({"baseline": {"name": "guess"}}, "probing.baseline is not that of"),
        ({"claims": "objects"}, "probing.claims is not that of"),
    ],
)
def test_what_was_asked_otherwise_is_refused(changes: dict[str, Any], words: str, earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        rejudged(earlier, tmp_path / "run", STRICT, **changes)


def test_a_folder_without_a_finished_probing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rejudge", str(tmp_path), "--dry-run"]) == 2
    assert "no finished probing" in capsys.readouterr().err


def test_the_command_takes_over_everything_but_the_judge(earlier: Path, tmp_path: Path) -> None:
    import yaml

    from millrace.cli import command_parser

    arguments = ["rejudge", str(earlier), "--run-dir", str(tmp_path / "new"), "--set", "probing.judge={name: annotation}"]
    call = flow_call(command_parser(["probing"]).parse_args(arguments))
    assert call.flow == "probing"
    assert call.arguments[-2:] == ["--set", "probing.judge={name: annotation}"]
    written = yaml.safe_load((tmp_path / "new" / CONFIG).read_text(encoding="utf-8"))["probing"]
    kept = read_json(earlier / "config.json")["probing"]
    assert "judge" not in written, "another kind of judge has settings of its own"
    assert written["answers_of"] == str(earlier)
    assert {name: written[name] for name in ("baseline", "claims", "seed")} == {
        name: kept[name] for name in ("baseline", "claims", "seed")
    }
