"""The whole stage on models that fail as they are told: verdicts, resuming, refusals, figures computed anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import InputError, RunFailed, UsageError
from millrace.improve.pool import read_pool
from millrace.improve.settings import ImproveSettings
from millrace.improve.stage import Improve
from millrace.improve.verification.figures_again import differing_figures
from millrace.run.journal import read_json, read_jsonl, write_json, write_jsonl
from tests.improve.conftest import BETTER, TEST_IMAGES, Do
from tests.improve.fake_world import FakeAsks, picture, stored, write_lake

World = tuple[Path, Path]


def test_data_that_repairs_helps_and_so_does_targeting(do: Do) -> None:
    summary = do(BETTER)
    assert (summary["verdict"], summary["targeting"], summary["short"]) == ("helps", "helps", False)
    found = {one["name"]: one["as_expected"] for one in summary["comparisons"]}
    assert found == dict.fromkeys(("data", "untargeted data", "targeting", "chance alone", "shuffled answers"), True)


def test_no_difference_is_no_evidence_and_a_result(do: Do) -> None:
    summary = do({})
    assert (summary["verdict"], summary["targeting"], summary["short"]) == ("no_evidence", "no_evidence", False)


def test_more_failures_are_harm(do: Do) -> None:
    assert do({"targeted": 0.7})["verdict"] == "harms"


def test_one_claim_made_worse_is_harm_however_much_the_others_gain(do: Do) -> None:
    summary = do(BETTER, claims={"size": 0.8})
    assert summary["comparisons"][0]["whole"]["difference"] < 0
    assert summary["verdict"] == "harms"
    assert [name for name, row in summary["comparisons"][0]["claims"].items() if row["worse"]] == ["size"]
    assert any("the claim size" in line for line in summary["because"])


def test_a_gain_with_shuffled_answers_takes_the_proof_away(do: Do) -> None:
    assert do({**BETTER, "shuffled": 0.1})["verdict"] == "no_evidence"


def test_a_difference_between_two_untargeted_arms_takes_the_proof_away(do: Do) -> None:
    assert do({**BETTER, "untargeted_again": 0.7})["verdict"] == "no_evidence"


def test_an_arm_on_request_is_compared_with_the_untargeted_one_and_leaves_the_verdict_alone(do: Do, world: World) -> None:
    arms = ["untargeted", "targeted", "shuffled", "untargeted_again", "targeted_by_failures", "targeted_without_replay"]
    summary = do({**BETTER, "targeted_by_failures": 0.9, "targeted_without_replay": 0.1}, arms=arms, rare_share=0.5)
    found = {one["name"]: (one["treated"], one["control"], one["as_expected"]) for one in summary["comparisons"]}
    for arm, fewer in (("targeted_by_failures", False), ("targeted_without_replay", True)):
        assert found[arm] == found[f"{arm}, rare kinds"] == (arm, "untargeted", fewer)
    assert summary["verdict"] == "helps"
    assert differing_figures(world[0])[1] == []


@pytest.mark.parametrize(("require", "short"), [("nothing", False), ("helps", True), ("targeting", True)])
def test_what_is_required_and_not_shown_is_short(do: Do, require: str, short: bool) -> None:
    assert do({}, require=require)["short"] is short


def test_every_figure_is_the_same_when_it_is_computed_anew(done: Path) -> None:
    checked, differing = differing_figures(done)
    assert differing == []
    assert checked > 150


@pytest.mark.parametrize("what", ["summary", "journal", "plan", "set"])
def test_a_figure_that_was_changed_is_found(done: Path, tmp_path: Path, what: str) -> None:
    folder = shutil.copytree(done, tmp_path / "changed") / "improve"
    if what == "summary":
        summary = read_json(folder / "summary.json")
        summary["comparisons"][0]["claims"]["size"]["low"] -= 0.01
        write_json(folder / "summary.json", summary)
    elif what == "journal":
        shard = folder / "probes" / "targeted-1" / "shard-00000.jsonl"
        lines = list(read_jsonl(shard))
        lines[0]["outcome"] = "wrong" if lines[0]["outcome"] in {"correct", "right_abstain"} else "correct"
        write_jsonl(shard, lines)
    elif what == "plan":
        write_json(folder / "plan.json", {**read_json(folder / "plan.json"), "margin": 0.5})
    else:
        shard = folder / "trainings" / "shuffled-0" / "records.jsonl"
        write_jsonl(shard, list(read_jsonl(shard))[:-1])
    assert differing_figures(folder.parent)[1] != []


def test_the_plan_is_in_the_manifest_before_the_first_training(do: Do, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_training(*arguments: Any) -> None:
        raise RunFailed("killed here")

    monkeypatch.setattr("millrace.improve.train.train_arm", no_training)
    with pytest.raises(RunFailed, match="killed here"):
        do(BETTER)
    plan = read_json(world[0] / "improve" / "plan.json")
    assert read_json(world[0] / "manifest.json")["flows"]["improve"]["plan"].startswith("plan_")
    assert len(plan["test"]) == TEST_IMAGES
    assert plan["hypotheses"][0] == {"name": "data", "treated": "targeted", "control": "base", "expected": "fewer failures"}


def test_a_run_that_is_taken_up_again_ends_with_the_same_figures(do: Do, world: World) -> None:
    whole = do(BETTER)
    folder = world[0] / "improve"
    for lost in ("summary.json", "report.html"):
        (folder / lost).unlink()
    shutil.rmtree(folder / "trainings" / "targeted-1")
    shutil.rmtree(folder / "probes" / "targeted-2")
    (folder / "sets" / "tuning-records.jsonl").unlink()
    changing = {"seconds", "work_seconds", "training_s"}
    again = do(BETTER)
    assert {key: again[key] for key in again if key not in changing} == {key: whole[key] for key in whole if key not in changing}


def test_other_outcomes_in_the_pool_are_another_plan(do: Do, world: World) -> None:
    do(BETTER)
    (world[0] / "improve" / "summary.json").unlink()
    shard = world[0] / "probing" / "shard-00000.jsonl"
    write_jsonl(shard, list(read_jsonl(shard))[:-1])
    with pytest.raises(UsageError, match=r"decided on for something else \(other: pool\); a changed plan is another run"):
        do(BETTER)


def test_another_setting_is_another_run(do: Do) -> None:
    do(BETTER)
    with pytest.raises(UsageError, match=r"improve\.margin: 0\.02 there, 0\.05 now"):
        do(BETTER, margin=0.05)


def test_one_and_two_workers_give_the_same_figures(do: Do, world: World) -> None:
    one = do(BETTER)
    shutil.rmtree(world[0] / "improve")
    for kept in ("config.json", "manifest.json"):
        (world[0] / kept).unlink()
    two = do(BETTER, workers=2)
    assert (one["comparisons"], one["plan"]) == (two["comparisons"], two["plan"])


def test_a_test_image_that_was_probed_is_refused_also_as_a_copy(do: Do, world: World) -> None:
    pictures = {f"fresh_{number}": stored(picture(number)) for number in range(2000, 2020)}
    small = picture(11).resize((64, 64))
    leaking = write_lake(world[1].parent / "leaking", {**pictures, "planted": stored(small, "JPEG", quality=60)})
    with pytest.raises(InputError, match=r"test image planted .* nearly the same picture as the probed image img_11"):
        do(BETTER, test={"path": leaking})


def test_no_picture_is_on_two_sides(done: Path) -> None:
    folder = done / "improve"
    plan = read_json(folder / "plan.json")
    test, tuning = {image["sha256"] for image in plan["test"]}, set(plan["tuning"])
    trained = {line["sha256"] for file in folder.glob("trainings/*/records.jsonl") for line in read_jsonl(file)}
    assert tuning
    assert not trained & tuning
    assert not trained & test
    assert not tuning & test
    assert {line["sha256"] for line in read_jsonl(folder / "sets" / "tuning-records.jsonl")} == tuning


def test_a_run_without_verified_answers_is_refused(do: Do, world: World) -> None:
    shard = world[0] / "probing" / "shard-00000.jsonl"
    lines = list(read_jsonl(shard))
    for line in lines:
        line["judge"]["kind"] = "judged"
    write_jsonl(shard, lines)
    with pytest.raises(InputError, match=r"no outcome in .* has a verified answer"):
        do(BETTER)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": 5000}, "need 5000 images with 4 verified records each"),
        ({"arms": ["untargeted"]}, "must have 'targeted'"),
        ({"arms": ["targeted", "targetted"]}, "no arm named 'targetted'; did you mean 'targeted'"),
        ({"arms": ["targeted", "targeted"]}, "each arm once"),
        ({"test": {"seed": 1}}, "improve.test.seed is that of the probed lake"),
        ({"test": {"path": "/no/such/lake"}}, "/no/such/lake"),
        ({"test": {"new": {}}}, r"improve\.test\.new names nothing new"),
        ({"test": {"new": {"recipe": "foreign", "seed": 1}}}, r"improve\.test\.new\.seed is that of other images"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(do: Do, world: World, changes: dict[str, Any], said: str) -> None:
    with pytest.raises((UsageError, InputError), match=said):
        do(BETTER, **changes)
    assert not (world[0] / "improve").exists()


def test_a_folder_without_a_probing_is_refused(tmp_path: Path) -> None:
    stage = Improve(ImproveSettings(), FakeAsks(tmp_path))
    with pytest.raises(InputError, match="there is no probing"):
        stage.check(tmp_path, [])


def test_a_lake_of_the_users_own_needs_test_images(tmp_path: Path, world: World) -> None:
    probing = {**FakeAsks(tmp_path).probing, "lake": {"path": "/data/photos", "images": 1, "seed": 1}}
    trainer = {"name": "tests.improve.instant_trainer"}
    stage = Improve(ImproveSettings(trainer=trainer), FakeAsks(tmp_path, probing))
    with pytest.raises(UsageError, match=r"came from /data/photos, .* set improve\.test\.path"):
        stage.check(world[0], [])


def test_claims_that_were_not_decided_for_a_model_are_left_out_and_counted(do: Do, world: World) -> None:
    do(BETTER)
    folder = world[0] / "improve"
    (folder / "summary.json").unlink()
    shard = folder / "probes" / "untargeted-0" / "shard-00000.jsonl"
    lines = list(read_jsonl(shard))
    for line in lines[:7]:
        line["outcome"] = "infra_error"
    write_jsonl(shard, lines)
    summary = do(BETTER)
    assert summary["dropped"] == {"not_decided_for_every_model": 7}
    assert summary["in"] == summary["out"] + 7
    assert differing_figures(world[0])[1] == []


def test_the_report_stands_alone_and_says_the_verdict_first(done: Path) -> None:
    page = (done / "improve" / "report.html").read_text()
    assert page.index('class="verdict') < page.index("Protocol")
    assert "data:image/jpeg;base64," in page
    assert "http://" not in page
    assert 'src="/' not in page


def test_training_sets_in_the_chat_formats_name_images_that_are_there(done: Path, tmp_path: Path) -> None:
    from millrace.improve.formats import llava, openai_chat
    from millrace.records.improve import TrainingRecord
    from millrace.run.journal import read_records

    sets = done / "improve" / "sets"
    records = list(read_records(done / "improve" / "trainings" / "targeted-0" / "records.jsonl", TrainingRecord))
    llava.write(records, sets, tmp_path / llava.FILE)
    openai_chat.write(records, sets, tmp_path / openai_chat.FILE)
    turns = json.loads((tmp_path / llava.FILE).read_text())
    assert all((sets / one["image"]).is_file() for one in turns)
    answers = {one["conversations"][1]["value"] for one in turns}
    assert "NOT RELATED" in answers
    assert not any("[SLOT]" in answer for answer in answers)
    lines = list(read_jsonl(tmp_path / openai_chat.FILE))
    assert [line["messages"][1]["content"] for line in lines] == [one["conversations"][1]["value"] for one in turns]


def test_verify_ends_with_1_and_names_what_differs(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from millrace.improve.verification.command import verify

    assert verify([str(done)]) == 0
    changed = shutil.copytree(done, tmp_path / "changed")
    summary = read_json(changed / "improve" / "summary.json")
    write_json(changed / "improve" / "summary.json", {**summary, "verdict": "helps"})
    assert verify([str(changed)]) == 1
    assert "the answer 'verdict': helps there" in capsys.readouterr().out


def test_verify_of_a_folder_without_a_proof_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no finished proof in"):
        differing_figures(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            "summary.json",
            '"out":',
            '"out": "many", "was":',
            r"summary\.json cannot be read \(Expected `int`, got `str` - at `\$\.out`",
        ),
        ("plan.json", '"level":', '"niveau":', r"plan\.json cannot be read \(Object missing required field `level`"),
        ("probes/base/shard-00000.jsonl", '"factors":', '"factors": 3, "was":', r"00000\.jsonl, line 1 cannot be read"),
        ("probes/base/shard-00000.jsonl", "{", "[" * 100_000, r"00000\.jsonl, line 1 cannot be read"),
    ],
)
def test_verify_names_the_file_and_the_field_that_it_cannot_read(
    done: Path, tmp_path: Path, file: str, old: str, new: str, says: str
) -> None:
    changed = shutil.copytree(done, tmp_path / "changed")
    path = changed / "improve" / file
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=says):
        differing_figures(changed)


def test_an_outcome_of_another_type_is_one_error_with_file_line_and_field(world: World) -> None:
    shard = world[0] / "probing" / "shard-00000.jsonl"
    lines = shard.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"factors":', b'"factors":7,"was":')
    shard.write_bytes(b"".join(lines))
    with pytest.raises(RunFailed, match=r"shard-00000\.jsonl, line 5 .*factors: expected `array`, got `int`"):
        read_pool(world[0] / "probing")


def test_verifying_imports_nothing_of_what_computed_the_figures() -> None:
    import ast

    for source in (Path(__file__).parents[2] / "millrace" / "improve" / "verification").glob("*.py"):
        imported = {
            node.module for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom) and node.module
        }
        foreign = {one for one in imported if one.startswith("millrace") and not one.startswith("millrace.improve.verification.")}
        assert foreign <= {"millrace.errors"}, source
