"""The draw: what is kept depends on the set of outcomes and the settings, and on nothing else."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from millrace.errors import InputError, UsageError
from millrace.filtering.funnel import FilteringReport, most_selected
from millrace.filtering.selection import quotas_for
from millrace.filtering.settings import FilteringSettings
from millrace.run.journal import read_jsonl
from tests.filtering.filtered import filter_outcomes

Make = Callable[..., dict[str, Any]]
MakeMany = Callable[[int], list[dict[str, Any]]]
Write = Callable[..., Path]


def chosen(report: FilteringReport) -> list[dict[str, Any]]:
    return [record for shard in report.shards for record in read_jsonl(Path(shard))]


def test_the_order_and_the_cutting_of_the_input_change_no_byte(outcomes: MakeMany, as_lines: Write, tmp_path: Path) -> None:
    records = outcomes(120)
    config = FilteringSettings(quota=15, shard_size=20)
    expected: list[bytes] | None = None
    for trial in range(4):
        shuffled = random.Random(trial).sample(records, len(records))
        cuts = sorted(random.Random(trial).sample(range(len(records)), trial))
        for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, None], strict=True)):
            as_lines(shuffled[start:end], f"in{trial}/shard-{number:05d}.jsonl")
        report = filter_outcomes(tmp_path / f"in{trial}", tmp_path / f"out{trial}", config, part_bytes=1000 * 10**trial)
        found = [Path(shard).read_bytes() for shard in report.shards]
        expected = expected or found
        assert found == expected


def test_an_array_and_lines_give_the_same_bytes(outcomes: MakeMany, as_lines: Write, tmp_path: Path) -> None:
    records = outcomes(60)
    (tmp_path / "array.json").write_bytes(orjson.dumps(records, option=orjson.OPT_INDENT_2))
    config = FilteringSettings(quota=12)
    first = filter_outcomes(as_lines(records), tmp_path / "a", config)
    second = filter_outcomes(tmp_path / "array.json", tmp_path / "b", config)
    assert [Path(s).read_bytes() for s in first.shards] == [Path(s).read_bytes() for s in second.shards]
    assert first.dropped == second.dropped


def test_a_larger_quota_extends_the_smaller_one(outcomes: MakeMany, as_lines: Write, tmp_path: Path) -> None:
    path = as_lines(outcomes(150))
    small = {r["id"] for r in chosen(filter_outcomes(path, tmp_path / "a", FilteringSettings(quota=5)))}
    large = {r["id"] for r in chosen(filter_outcomes(path, tmp_path / "b", FilteringSettings(quota=9)))}
    assert small < large


def test_more_images_do_not_change_the_draw_within_an_image(outcomes: MakeMany, as_lines: Write, tmp_path: Path) -> None:
    few = chosen(filter_outcomes(as_lines(outcomes(40), "few.jsonl"), tmp_path / "a", FilteringSettings()))
    many = chosen(filter_outcomes(as_lines(outcomes(80), "many.jsonl"), tmp_path / "b", FilteringSettings()))
    assert {r["id"] for r in few} <= {r["id"] for r in many}


@pytest.mark.parametrize("limit", [1, 2, None])
def test_an_image_gives_no_more_failures_than_it_may(
    outcomes: MakeMany, as_lines: Write, tmp_path: Path, limit: int | None
) -> None:
    records = outcomes(60)
    report = filter_outcomes(as_lines(records), tmp_path / "out", FilteringSettings(failures_per_image=limit))
    per_image = Counter(record["source_a"]["id"] for record in chosen(report))
    available = Counter(r["image"]["image_id"] for r in records if r["failure_id"])
    assert per_image == {name: min(count, limit or count) for name, count in available.items()}


def test_the_draw_within_an_image_follows_the_weights(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    pair = ("counting_object_instances", "scale_proportion_estimation")
    records = [outcome(image, claim) for image in range(2000) for claim in pair]
    report = filter_outcomes(as_lines(records), tmp_path / "out", FilteringSettings())
    share = report.balance["FR_OBJECT_COUNTING_CONFUSION"].kept / report.kept
    assert abs(share - 16 / 20) < 0.04  # weights 16 and 4; four standard deviations of 2,000 draws


def test_the_funnel_adds_up_with_every_kind_of_line(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    lines: list[dict[str, Any] | bytes] = [
        outcome(1),
        outcome(1),  # the same record again
        outcome(1, "spatial_absolute_position"),
        outcome(2, outcome="correct"),
        outcome(3, outcome="right_abstain"),
        outcome(4, outcome="infra_error"),
        outcome(5, outcome="judge_uncertain"),
        outcome(6, failure_id="FR_NEW"),
        outcome(7, failure_id=None),
        outcome(8, outcome="wrnog", failure_id="FR_OBJECT_COUNTING_CONFUSION"),
        b'{"kind": "outcome", "id": 5}\n',
        outcome(9, image={"image_id": 9}),
        b"{torn\n",
        b"\n",
        {"kind": "dropped", "id": "drp_1", "reason": "no_subject"},
    ]
    report = filter_outcomes(as_lines(lines), tmp_path / "out", FilteringSettings(unknown_failure="drop"))
    assert report.seen == 13
    assert report.kept == 1
    assert report.dropped == {
        "bad_record": 5,
        "duplicate": 1,
        "infra_error": 1,
        "judge_uncertain": 1,
        "not_a_failure": 2,
        "over_failures_per_image": 1,
        "unknown_failure": 1,
    }
    assert report.seen == report.kept + sum(report.dropped.values())


def test_a_bad_line_is_listed_with_its_place_and_reason(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    path = as_lines([outcome(1), b"{torn\n", outcome(2)])
    report = filter_outcomes(path, tmp_path / "out", FilteringSettings())
    [listed] = [record for file in (tmp_path / "out/quarantine").iterdir() for record in read_jsonl(file)]
    assert report.kept == 2
    assert listed["file"] == str(path)
    assert path.read_bytes()[listed["offset"] :].startswith(b"{torn")
    assert listed["reason"] == "not_json"


def test_a_failure_id_without_a_route_ends_the_run_with_a_hint(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    path = as_lines([outcome(1, failure_id="FR_OBJECT_COUNTNG_CONFUSION")])
    with pytest.raises(InputError, match="did you mean 'FR_OBJECT_COUNTING_CONFUSION'"):
        filter_outcomes(path, tmp_path / "out", FilteringSettings())
    assert not (tmp_path / "out").exists()


def test_a_quota_of_a_failure_id_that_does_not_exist_is_refused(as_lines: Write, outcome: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="quotas names the failure id 'FR_ABSOLUTE_POSITION'"):
        filter_outcomes(as_lines([outcome(1)]), tmp_path, FilteringSettings(quotas={"FR_ABSOLUTE_POSITION": 3}))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(1, 200))
@hypothesis_settings(deadline=None)
def test_a_total_is_spread_as_evenly_as_the_failures_allow(available: list[int], total: int) -> None:
    import numpy as np

    names = [f"FR_{number}" for number in range(len(available))]
    shares = quotas_for(np.array(available), names, FilteringSettings(total=total)).tolist()
    assert sum(shares) == min(total, sum(available))
    assert all(share <= have for share, have in zip(shares, available, strict=True))
    wanting = [share for share, have in zip(shares, available, strict=True) if share < have]
    assert not wanting or max(shares) - min(wanting) <= 1


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({}, 30),  # one of each image
        ({"failures_per_image": None}, 100),
        ({"failures_per_image": None, "quota": 20}, 40),
        ({"failures_per_image": None, "quota": 20, "quotas": {"FR_A": 5}}, 25),
        ({"failures_per_image": None, "quotas": {"FR_A": 5}}, 100),
        ({"total": 7}, 7),
    ],
)
def test_no_more_is_selected_than_every_limit_allows(settings: dict[str, Any], most: int) -> None:
    assert most_selected(FilteringSettings(**settings), failures=100, images=30, failure_ids=["FR_A", "FR_B", "FR_A"]) == most
