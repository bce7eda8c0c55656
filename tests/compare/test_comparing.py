"""Two finished runs → pairs, figures, flips and a verdict."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

import millrace
from millrace.compare.pairing import pair_outcomes
from millrace.compare.runs import read_side, run_side
from millrace.compare.settings import CompareSettings
from millrace.compare.stage import Compare
from millrace.compare.verification.verify import verify
from millrace.probing.how_asked import HowAsked
from millrace.run.journal import read_jsonl
from millrace.run.stage import Forecast
from tests.compare.made_runs import Outcomes, compared, journal, made_run, outcome, settings_of, state_of, two_runs


def every(number: int, what: str = "wrong", claim: str = "") -> Outcomes:
    """Every so-manieth image fails, at one claim or at all."""
    return lambda image, asked: what if image % number == 0 and claim in ("", asked) else "correct"


def figures(summary: dict[str, Any]) -> dict[str, Any]:
    """What must be the same in two runs of the same comparison."""
    return {name: value for name, value in summary.items() if name not in {"machine", "versions"}}


def test_the_rates_are_those_that_a_person_counts(tmp_path: Path) -> None:
    """40 images, two claims each: before 10 images fail at both, after 5 at counting alone."""
    summary = compared(tmp_path / "c", *two_runs(tmp_path, every(4), every(8, claim="counting")))
    whole = summary["whole"]
    assert (whole["pairs"], whole["images"], whole["failures_before"], whole["failures_after"]) == (80, 40, 20, 5)
    assert (whole["worse"], whole["better"]) == (0, 15)
    assert whole["difference"] == pytest.approx(-15 / 80)
    assert summary["claims"]["position"]["difference"] == pytest.approx(-10 / 40)
    assert summary["claims"]["counting"]["difference"] == pytest.approx(-5 / 40)
    assert summary["factors"]["dark"]["failures_before"] == 20
    assert summary["outcomes"]["wrong"]["difference"] == pytest.approx(-15 / 80)
    assert summary["flips"] == {"worse": 0, "better": 15}
    assert summary["verdict"] == "better"


def test_a_claim_that_got_worse_is_found_beside_one_that_got_better(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(3, claim="counting"), every(3, claim="position"), images=90)
    summary = compared(tmp_path / "c", *runs)
    assert summary["claims"]["position"]["verdict"] == "worse"
    assert summary["claims"]["counting"]["verdict"] == "better"
    assert summary["verdict"] == "mixed"
    assert not summary["no_harm"]
    assert "Worse at “position” (+33.3" in "\n".join(summary["says"])


def test_fewer_wrong_answers_bought_by_abstaining_are_named_as_harm(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(3), every(3, "wrong_abstain"), images=90)
    summary = compared(tmp_path / "c", *runs)
    assert summary["whole"]["difference"] == 0
    assert summary["outcomes"]["wrong_abstain"]["verdict"] == "worse"
    assert not summary["outcomes"]["wrong_abstain"]["no_harm"]
    assert not summary["no_harm"]
    assert summary["verdict"] == "mixed"


def test_no_difference_is_a_result_and_says_what_could_have_been_seen(tmp_path: Path) -> None:
    summary = compared(tmp_path / "c", *two_runs(tmp_path, every(4), every(4)))
    assert summary["verdict"] == "no_evidence"
    assert summary["status"] == "finished"
    assert summary["whole"]["difference"] == 0
    assert summary["whole"]["low"] < 0 < summary["whole"]["high"], "40 images do not prove that nothing changed"
    assert 0 < summary["whole"]["seen"] < 1
    assert "With a chance of 80" in summary["says"][-1]


def test_what_is_nobodys_failure_is_left_out_with_its_reason_and_the_sum_adds_up(tmp_path: Path) -> None:
    before = dict.fromkeys(range(40), "wrong") | {0: "infra_error", 1: "cut_off", 2: "filtered", 3: "infra_error"}
    after = dict.fromkeys(range(40), "correct") | {4: "judge_uncertain", 3: "filtered"}
    runs = two_runs(tmp_path, lambda image, claim: before[image], lambda image, claim: after[image])
    summary = compared(tmp_path / "c", *runs)
    assert summary["dropped"] == {
        "cut_off_before": 2,
        "filtered_before": 2,
        "infra_error_before": 2,
        "infra_error_before_filtered_after": 2,
        "judge_uncertain_after": 2,
    }
    assert summary["whole"]["failures_before"] == 70
    assert summary["in"] == summary["out"] + sum(summary["dropped"].values()) == 80
    assert len(list(read_jsonl(tmp_path / "c" / "compare" / "left-out.jsonl"))) == 10


def test_pairs_are_of_one_image_content_claim_and_subject(tmp_path: Path) -> None:
    first = [
        outcome(1, "counting", "wrong", model="one"),
        outcome(1, "counting", "wrong", model="one", subject="blue"),
        outcome(2, "counting", "wrong", model="one"),
        outcome(3, "counting", "wrong", model="one"),
        outcome(3, "position", "wrong", model="one"),
    ]
    moved = outcome(2, "counting", "correct", model="two")
    moved["image"] |= {"image_id": "renamed", "file": "other.parquet", "row": 77}
    second = [
        outcome(1, "counting", "correct", model="two"),
        outcome(1, "counting", "correct", model="two", subject="green"),
        moved,
        {**moved, "id": "again"},
        outcome(4, "counting", "correct", model="two"),
    ]
    sides = run_side("before", made_run(tmp_path / "a", first)), run_side("after", made_run(tmp_path / "b", second))
    found = pair_outcomes(*(read_side(side) for side in sides))
    assert [pair.before.line.id for pair in found.pairs] == ["out_one_1_counting_red", "out_one_2_counting_red"]
    assert found.reasons == {
        "asked_again_after": 1,
        "claim_only_before": 1,
        "image_only_after": 1,
        "image_only_before": 1,
        "subject_only_after": 1,
        "subject_only_before": 1,
    }


def test_the_order_of_a_journal_changes_no_figure(tmp_path: Path) -> None:
    lines = [journal(range(30), every(3), model="one"), journal(range(30), every(5), model="two")]
    first = compared(tmp_path / "c", made_run(tmp_path / "a", lines[0]), made_run(tmp_path / "b", lines[1]))
    for side in lines:
        random.Random(1).shuffle(side)
    second = compared(tmp_path / "d", made_run(tmp_path / "a2", lines[0]), made_run(tmp_path / "b2", lines[1]))
    for group in ("whole", "claims", "factors", "outcomes", "dropped", "flips", "verdict"):
        assert first[group] == second[group]


def test_the_reverse_comparison_has_the_reverse_figures(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(4), every(7))
    there, back = compared(tmp_path / "c", *runs), compared(tmp_path / "d", *reversed(runs))
    assert there["whole"]["difference"] == -back["whole"]["difference"]
    assert there["whole"]["low"] == pytest.approx(-back["whole"]["high"], abs=1e-9)
    assert there["whole"]["p_value"] == back["whole"]["p_value"]


def test_only_the_claims_that_are_named_are_compared(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(4), every(8))
    summary = compared(tmp_path / "c", *runs, claims=("counting",))
    assert list(summary["claims"]) == ["counting"]
    assert summary["in"] == 40


def test_a_comparison_that_was_killed_at_any_file_ends_with_the_same_figures(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(3), every(5))
    whole = compared(tmp_path / "whole", *runs)
    files = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file())
    made = [file for file in files if file.parts[0] in {"compare", "summary.json", "report.html"}]
    for kept in range(len(made)):
        folder = tmp_path / f"killed-{kept}"
        compared(folder, *runs)
        for gone in made[kept:]:
            (folder / gone).unlink()
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["flows"]["compare"]["state"] = "running"
        (folder / "manifest.json").write_text(json.dumps(manifest))
        assert figures(compared(folder, *runs)) == figures(whole)
        assert state_of(folder) == "finished"


def test_a_run_that_was_probed_anew_is_compared_anew(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(3), every(5))
    compared(tmp_path / "c", *runs)
    lines = journal(range(40), every(2), model="two")
    (runs[1] / "probing" / "shard-00001.jsonl").unlink()
    (runs[1] / "probing" / "shard-00000.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    assert Compare(settings_of(*runs), HowAsked()).outdated(tmp_path / "c")
    assert compared(tmp_path / "c", *runs)["whole"]["failures_after"] == 40


@pytest.mark.parametrize(
    ("require", "after", "short"),
    [("better", 40, False), ("better", 4, True), ("no_harm", 4, True), ("nothing", 2, False)],
)
def test_what_is_required_and_not_shown_leaves_the_run_short(tmp_path: Path, require: str, after: int, short: bool) -> None:
    summary = compared(tmp_path / "c", *two_runs(tmp_path, every(4), every(after)), require=require)
    assert (summary["status"] == "short") is short


def test_no_harm_is_shown_by_enough_images(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(4), every(4), images=400)
    assert compared(tmp_path / "c", *runs, margin=0.05)["no_harm"]


def test_before_a_comparison_it_is_said_how_many_images_it_takes(tmp_path: Path) -> None:
    """Five points per claim of eight, 30 % of the pairs differing, design effect 2: 3,064 (facts of McNemar's formula)."""
    runs = two_runs(tmp_path, every(3), every(5))
    lines = Compare(settings_of(*runs), HowAsked()).plan(tmp_path / "c", Forecast())
    assert lines[:2] == [f"before: {runs[0]}", f"after: {runs[1]}"]
    assert "to see 5.0 points in one of 8 claims (chance 80 %, Holm) takes 3,064 images".replace("5.0 ", "5.0\u00a0") in lines[2]
    assert lines[3].startswith("power: 40 images show ")
    assert Compare(CompareSettings(), HowAsked()).power(None) == []


def test_the_library_compares_two_runs_as_the_command_does(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(3), every(5))
    results = millrace.compare_runs(tmp_path / "c", *runs, draws=300, margin=0.04)
    assert results.states == {"compare": "finished"}
    assert results.summary("compare")["whole"] == compared(tmp_path / "d", *runs, margin=0.04)["whole"]
    assert (tmp_path / "c" / "report.html").exists()


def test_verify_computes_every_figure_again(tmp_path: Path) -> None:
    def before(image: int, claim: str) -> str:
        return ("wrong", "correct", "hallucinated", "infra_error", "right_abstain")[image * 7 % 5]

    def after(image: int, claim: str) -> str:
        return ("correct", "wrong_abstain", "correct")[(image + len(claim)) % 3]

    compared(tmp_path / "c", *two_runs(tmp_path, before, after, images=50))
    lines, same = verify(tmp_path / "c")
    assert same, lines
    assert "all the same" in lines[0]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("whole", "low"), -0.5),
        (("whole", "failures_after"), 3),
        (("claims", "counting", "p_holm"), 0.01),
        (("factors", "dark", "no_harm"), False),
        (("outcomes", "wrong", "difference"), 0.0),
        (("dropped", "infra_error_after"), 2),
        (("verdict",), "better"),
        (("no_harm",), True),
        (("claims", "counting", "images_to_see"), 7),
    ],
)
def test_verify_finds_a_figure_that_was_changed(tmp_path: Path, place: tuple[str, ...], value: Any) -> None:
    def after(image: int, claim: str) -> str | None:
        return "infra_error" if image == 1 and claim == "counting" else every(5)(image, claim)

    compared(tmp_path / "c", *two_runs(tmp_path, every(4), after))
    summary = json.loads((tmp_path / "c" / "summary.json").read_text())
    inner = summary
    for part in place[:-1]:
        inner = inner[part]
    assert inner[place[-1]] != value
    inner[place[-1]] = value
    (tmp_path / "c" / "summary.json").write_text(json.dumps(summary))
    lines, same = verify(tmp_path / "c")
    assert not same
    assert any(".".join(place) in line or "rows were written" in line for line in lines)


def test_verify_finds_a_journal_that_is_not_the_one_that_was_compared(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, every(4), every(5))
    compared(tmp_path / "c", *runs)
    shard = runs[1] / "probing" / "shard-00000.jsonl"
    shard.write_bytes(shard.read_bytes().replace(b'"correct"', b'"wrong"', 1))
    lines, same = verify(tmp_path / "c")
    assert not same
    assert any("sides.after.sha256" in line for line in lines)


def test_verify_shares_no_code_with_what_it_verifies() -> None:
    import ast

    import millrace.compare.verification

    for source in Path(str(millrace.compare.verification.__file__)).parent.glob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)]
        named = set(itertools.chain.from_iterable([f"{node.module}.{alias.name}" for alias in node.names] for node in nodes))
        ours = {name for name in named if name.startswith("millrace.") and not name.startswith("millrace.compare.verification.")}
        assert ours <= {"millrace.errors.InputError"}, source
