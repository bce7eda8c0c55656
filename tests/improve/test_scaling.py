"""The scaling curve: sizes, figures, and how many untargeted items do the work of the targeted ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.errors import InputError
from millrace.improve.scaling import records_for, saved, sentences
from millrace.improve.sizes import name_of, split_name
from millrace.improve.verification.figures_again import differing_figures
from millrace.records.results.improve import Difference, ScalePoint
from millrace.run.journal import read_json, read_jsonl, write_json
from tests.improve.conftest import BETTER, Do

World = tuple[Path, Path]
FAILS = {**BETTER, "untargeted_x0p5": 0.35, "untargeted_x2": 0.12, "targeted_x0p5": 0.25}


def point(records: int, change: float, arm: str = "untargeted") -> ScalePoint:
    row = Difference(
        asked=100,
        images=50,
        control=0.4,
        treated=0.4 + change,
        difference=change,
        low=None,
        high=None,
        upper=None,
        p_value=None,
        by_seed=(change,),
    )
    return ScalePoint(arm=arm, on="all", images=records // 4, records=records, against_base=row)


@pytest.mark.parametrize(
    ("change", "records"), [(0.01, 0), (0.0, 0), (-0.01, 50), (-0.02, 100), (-0.03, 150), (-0.04, 200), (-0.041, None)]
)
def test_the_records_that_do_the_same_work_are_read_off_straight_lines(change: float, records: int | None) -> None:
    assert records_for(change, [point(200, -0.04), point(100, -0.02)]) == records


def test_a_curve_that_rises_in_between_is_made_to_fall() -> None:
    assert records_for(-0.03, [point(100, -0.02), point(200, 0.01), point(400, -0.04)]) == 300


def test_what_no_untargeted_size_reaches_is_said_as_more_than_was_tried() -> None:
    found = saved([point(100, -0.02), point(200, -0.03), point(100, -0.05, "targeted")])
    assert (found[0].untargeted, found[0].tried) == (None, 200)
    assert sentences(found) == ["Over all images, 100 targeted items do more than 200 untargeted ones, the most that were tried."]


@pytest.mark.parametrize(("arm", "size"), [("targeted", 1.0), ("targeted", 0.125), ("own_x", 2.0), ("untargeted", 0.5)])
def test_a_name_gives_back_the_arm_and_the_size_that_it_was_made_of(arm: str, size: float) -> None:
    assert split_name(name_of(arm, size)) == (arm, size)
    assert "." not in name_of(arm, size)


def test_every_size_is_trained_and_judged_and_its_figures_verified(do: Do, world: World) -> None:
    summary = do(FAILS, scaling=(0.5, 2.0))
    found = {(one["arm"], one["images"]): one["against_base"]["treated"] for one in summary["scaling"]}
    assert set(found) == {("untargeted", 10), ("untargeted", 20), ("untargeted", 40), ("targeted", 10), ("targeted", 20)}
    assert found["untargeted", 40] < found["untargeted", 20] < found["untargeted", 10]
    assert summary["saved"][0]["targeted"] == 80
    assert 80 < summary["saved"][0]["untargeted"] < 160
    assert any("80 targeted items do the work of" in line for line in summary["because"])
    sizes = {path.parent.name: len(list(read_jsonl(path))) for path in world[0].glob("improve/trainings/*/records.jsonl")}
    assert (sizes["untargeted_x2-0"], sizes["targeted_x0p5-1"], sizes["targeted-0"]) == (160, 40, 80)
    assert "How much data" in (world[0] / "improve" / "report.html").read_text()
    assert differing_figures(world[0])[1] == []
    path = world[0] / "improve" / "summary.json"
    kept = read_json(path)
    kept["scaling"][0]["against_base"]["difference"] += 0.01
    write_json(path, kept)
    assert any("untargeted_x0p5 on all" in line for line in differing_figures(world[0])[1])


def test_a_size_that_the_pool_has_no_images_for_is_refused_before_anything_is_trained(do: Do, world: World) -> None:
    with pytest.raises(InputError, match="need 80 images with 4 verified records each"):
        do(FAILS, scaling=(4.0,))
    assert not (world[0] / "improve").exists()
