"""The report's sentences: what pays and how surely, what cannot be told and why, what an adjusted load's figures are of."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from millrace.records.training.attempt import AttemptRecord
from millrace.records.training.backgrounds import BackgroundsAlone
from millrace.records.training.comparison import Epoch
from millrace.training.backgrounds.background_record import BackgroundRecord
from millrace.training.backgrounds.colocation import adjusted, compare, wanted_load
from millrace.training.campaign import open_campaign
from millrace.training.results.findings import TERMS, findings, labels_of
from millrace.training.results.report import report_data
from millrace.training.results.shown import findings_text, run_rows
from millrace.training.settings import Background
from tests.training.made_records import alone, attempt, epoch


def epochs_of(loads: list[str], solo: float = 2.0, shared: float = 2.5, samples: float = 200.0) -> list[Epoch]:
    walls = {"warm_up": 9.0, "solo": solo, "shared": shared, "mixed": (solo + shared) / 2}
    return [
        epoch(load, walls[load] * (1 + 0.01 * (n % 3)), background_samples=samples if load == "shared" else 0.0)
        for n, load in enumerate(loads)
    ]


def record(epochs: list[Epoch], apart: BackgroundsAlone | None, **more: Any) -> AttemptRecord:
    return attempt(epochs=epochs, backgrounds=[STOPPED], **{"comparison": compare(epochs, apart), **more})


ABBA = [str(wanted_load(n, 1)) for n in range(1, 18)]
PARTS = [99.0, 100.0, 101.0, 100.0, 100.0]
STEADY = alone(100.0, samples_per_s_parts=PARTS)
STOPPED = BackgroundRecord(Background(id="load", workload="lstm")).report(None, 0.0, 0.0, 1.0)


def said(*records: AttemptRecord) -> str:
    return "\n".join(findings(records, labels_of(records)))


@pytest.mark.parametrize(
    ("samples", "parts", "verdict"),
    [
        (200.0, PARTS, "sharing pays"),
        (20.0, PARTS, "one after the other is faster"),
        (50.0, [30.0, 300.0, 60.0, 90.0, 20.0], "whether sharing pays is open"),
    ],
)
def test_whether_sharing_pays_is_said_with_its_interval_and_the_seconds_it_rests_on(samples, parts, verdict):
    one = record(epochs_of(ABBA, samples=samples), replace(STEADY, samples_per_s_parts=parts))
    low, high = one.comparison.throughput.low, one.comparison.throughput.high
    assert low < one.comparison.throughput.sum < high
    line = next(line for line in said(one).splitlines() if "times the work" in line)
    assert verdict in line
    assert f"95 % interval {low:.2f} to {high:.2f}" in line
    assert "measured for 3.0 s only" in line


def test_without_windows_enough_nothing_is_said_to_pay():
    one = record(epochs_of(ABBA[:4]), STEADY)
    assert one.comparison.throughput.low is None
    line = next(line for line in said(one).splitlines() if "times the work" in line)
    assert "pays" not in line.replace("too few windows to say whether sharing pays", "")


@pytest.mark.parametrize("loads", [["warm_up", "shared", "shared"], ["warm_up", "mixed", "mixed"], ["warm_up"]])
def test_a_run_without_a_pair_says_that_no_slowdown_can_be_given_and_what_it_had(loads):
    line = said(record(epochs_of(loads), None))
    assert line.startswith("No slowdown can be given")
    assert "1 warm-up" in line


def test_a_run_whose_epochs_were_not_seen_says_so():
    one = record(epochs_of(ABBA), None, comparison=UNSET)
    assert said(one).startswith("No epoch was seen")


def test_an_adjusted_load_names_its_limit_what_was_on_and_how_often_it_was_passed():
    epochs = epochs_of(["warm_up", "solo", "solo", "shared", "mixed", "mixed", "shared"])
    levels = (0.0, 0.0, 0.0, 1.0, 0.5, 0.5, 1.0)
    epochs = [replace(one, level=level) for one, level in zip(epochs, levels, strict=True)]
    found = adjusted(epochs, 1.2)
    assert (found.epochs, found.over, found.mean_level) == (4, 2, 0.75)
    one = record(epochs, None, comparison=replace(compare(epochs, None), adjusted=found))
    line = said(one)
    assert "a slowdown of at most 1.20: 75 % of it was on" in line
    assert "2 of 4 epochs were over the limit" in line
    assert "aimed at and not kept" in line


def test_findings_name_runs_shortly_and_a_single_run_not_at_all():
    one = record(epochs_of(ABBA), STEADY)
    other = replace(one, id="b")
    assert all(line.startswith(("Run 1: ", "Run 2: ")) for line in said(one, other).splitlines())
    assert "lr=0.123" not in said(one, other)
    assert said(one).startswith("An epoch takes 1.2")


def test_every_word_of_the_tables_that_needs_it_is_explained():
    for word in ("slowdown", "pairs", "overlap", "throughput", "solo", "shared", "PSI", "containment", "Pareto", "attributed"):
        assert any(word in term for term in TERMS), word


def test_a_run_says_what_it_does_between_its_begin_and_its_end_with_numbers_that_can_be_read(make_config, external, tmp_path):
    lines: list[str] = []
    job = {"workload": "flaky", "mode": "mutation", "mutate": ["lr"], "env": {"MARK": str(tmp_path / "mark")}}
    with open_campaign(make_config(job), tmp_path / "run") as campaign:
        (run,) = campaign.pending()
        assert campaign.run_one(run, lines.append).ok
    assert len(repr(run.hyperparameters["lr"])) > 12
    shown = f"{run.hyperparameters['lr']:.4g}"
    first, failed, again, done = lines
    assert first.endswith(f"lr={shown}: training")
    assert "exit_code" in failed
    assert again.endswith("attempt 2")
    assert "done in" in done
    assert "score 0.9" in done
    assert all(f"lr={shown}:" in line for line in lines)


def test_a_finished_training_has_a_text_and_a_table_to_be_shown_with_numbers_that_can_be_read(make_config, external, tmp_path):
    lr = {"lr": {"range": [0.05, 0.15]}}
    jobs = [{"workload": "good", "mode": "mutation", "mutate": ["lr"], "parameters": lr}, {"workload": "crash"}]
    with open_campaign(make_config(*jobs, max_retries=0), tmp_path / "run") as campaign:
        for run in campaign.pending():
            campaign.run_one(run)
    data = report_data("", "", tmp_path / "run", [])
    text = findings_text(data)
    assert text.startswith("1 of 2 runs succeeded in ")
    assert "- 1 of 2 runs failed" in text
    good, bad = run_rows(data)
    assert (good["result"], bad["result"]) == ("done", "exit_code")
    assert "score 0.9" in good["metrics"]
    assert good["run"].startswith("Run 1 · ")
    assert not re.search(r"\d\.\d{8}", "".join([*good.values(), *bad.values(), text]))
