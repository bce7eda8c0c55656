"""New scenes and new wording: what is asked besides the test, and that no picture of it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.errors import InputError
from millrace.improve.verification.figures_again import differing_figures
from millrace.run.journal import read_json, read_jsonl, write_jsonl
from tests.improve.conftest import BETTER, Do, do_in
from tests.improve.fake_world import lake_of, picture, stored, write_lake

World = tuple[Path, Path]
WORDS = {"colour": "Of what colour is the [SUBJECT] thing? [SLOT]."}


@pytest.fixture
def new(world: World) -> dict[str, Any]:
    """Settings of a test with 30 images of another kind of scenes and one claim in other words."""
    folder = world[0].parent / "new_scenes"
    if not folder.exists():
        lake_of(folder, 5000, 30)
    return {"path": folder, "images": 30, "wordings": WORDS}


def test_known_and_new_scenes_are_judged_in_known_and_new_wording(do: Do, world: World, new: dict[str, Any]) -> None:
    summary = do(BETTER, test={"new": new})
    names = ["known scenes, new wording", "new scenes, known wording", "new scenes, new wording"]
    assert list(summary["cells"]) == names
    assert all(set(rows) == {"data", "targeting"} for rows in summary["cells"].values())
    assert summary["cells"]["new scenes, known wording"]["data"]["images"] == 30
    assert summary["cells"]["new scenes, known wording"]["data"]["high"] < 0
    assert "new scenes, new wording" in (world[0] / "improve" / "report.html").read_text()


def test_the_plan_names_the_new_scenes_and_words_before_the_first_training(do: Do, world: World, new: dict[str, Any]) -> None:
    do(BETTER, test={"new": new})
    plan = read_json(world[0] / "improve" / "plan.json")
    assert len(plan["new_scenes"]) == 30
    assert plan["new_wordings"] == WORDS
    assert not {image["sha256"] for image in plan["new_scenes"]} & {image["sha256"] for image in plan["test"]}


def test_the_figures_of_the_cells_are_the_same_when_computed_anew_and_a_changed_one_is_found(
    do: Do, world: World, new: dict[str, Any]
) -> None:
    do(BETTER, test={"new": new})
    assert differing_figures(world[0])[1] == []
    shard = world[0] / "improve" / "cells" / "new_scenes_known_wording" / "targeted-0" / "shard-00000.jsonl"
    lines = list(read_jsonl(shard))
    lines[0]["outcome"] = "wrong" if lines[0]["outcome"] in {"correct", "right_abstain"} else "correct"
    write_jsonl(shard, lines)
    assert any("new scenes, known wording" in line for line in differing_figures(world[0])[1])


def test_a_new_scene_that_was_probed_is_refused_also_as_a_copy(do: Do, world: World) -> None:
    fresh = {f"fresh_{number}": stored(picture(number)) for number in range(6000, 6010)}
    copy = stored(picture(7).resize((150, 150)), "JPEG", quality=70)
    leaking = write_lake(world[0].parent / "leaking", {**fresh, "planted": copy})
    with pytest.raises(InputError, match=r"test image planted .* nearly the same picture as the probed image img_7"):
        do(BETTER, test={"new": {"path": leaking}})


def test_of_a_lake_drawn_by_chance_what_is_like_a_probed_picture_is_left_out_and_said(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = {f"fresh_{number}": stored(picture(number)) for number in range(7000, 7040)}
    copy = stored(picture(7).resize((150, 150)), "JPEG", quality=70)
    test = write_lake(tmp_path / "drawn", {**pictures, "twin": copy})
    summary = do_in(world[0], test)(BETTER)
    plan = read_json(world[0] / "improve" / "plan.json")
    assert "twin" not in {image["image_id"] for image in plan["test"]}
    assert (len(plan["test"]), summary["images"]) == (40, 40)
    assert "1 test images are nearly the same as probed ones, and are left out" in "".join(capsys.readouterr())
    assert differing_figures(world[0])[1] == []


def test_new_wording_alone_needs_no_new_scenes(do: Do) -> None:
    summary = do(BETTER, test={"new": {"wordings": WORDS}})
    assert list(summary["cells"]) == ["known scenes, new wording"]


def test_without_new_scenes_and_words_nothing_of_them_is_written(done: Path) -> None:
    assert "cells" not in read_json(done / "improve" / "summary.json")
    assert not {"new_scenes", "new_wordings"} & set(read_json(done / "improve" / "plan.json"))
    assert not (done / "improve" / "cells").exists()
