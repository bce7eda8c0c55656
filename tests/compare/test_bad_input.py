"""What can't be compared is refused in one sentence that says which, with exit code 2, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from millrace.compare.commands import flow_arguments
from millrace.compare.settings import CompareSettings
from millrace.compare.stage import Compare
from millrace.compare.verification.verify import verify
from millrace.config import parse_config
from millrace.errors import InputError, MillraceError, UsageError
from millrace.probing.how_asked import HowAsked
from millrace.run.journal import write_json
from tests.compare.made_runs import compared, journal, made_run, outcome, two_runs

Runs = tuple[Path, Path]


def right(image: int, claim: str) -> str:
    """Never fails."""
    return "correct"


def good(folder: Path) -> Path:
    return made_run(folder / "a", journal(range(6), right))


def missing(folder: Path) -> Runs:
    return good(folder), folder / "nowhere"


def a_file(folder: Path) -> Runs:
    (folder / "file").write_text("")
    return good(folder), folder / "file"


def no_run(folder: Path) -> Runs:
    (folder / "empty").mkdir()
    return good(folder), folder / "empty"


def another_kind(folder: Path) -> Runs:
    (folder / "b").mkdir()
    write_json(folder / "b" / "config.json", {"synthesis": {}})
    return good(folder), folder / "b"


def unfinished(folder: Path) -> Runs:
    run = made_run(folder / "b", journal(range(6), right))
    (run / "probing" / "summary.json").unlink()
    return good(folder), run


def damaged_config(folder: Path) -> Runs:
    run = made_run(folder / "b", journal(range(6), right))
    (run / "config.json").write_text("{")
    return good(folder), run


def damaged_line(folder: Path) -> Runs:
    run = made_run(folder / "b", journal(range(6), right))
    with (run / "probing" / "shard-00001.jsonl").open("ab") as file:
        file.write(b'{"kind": "outcome", "id": 3}\n')
    return good(folder), run


def other_claim_set(folder: Path) -> Runs:
    lines = [{**line, "claim_set": "d" * 64} for line in journal(range(6), right)]
    return good(folder), made_run(folder / "b", lines, claims="objects")


def other_judge(folder: Path) -> Runs:
    judge = {"name": "endpoint", "chats": [{"model": "j", "endpoints": [{"base_url": "http://127.0.0.1:9/v1"}]}]}
    return good(folder), made_run(folder / "b", journal(range(6), right), judge=judge)


def other_images(folder: Path) -> Runs:
    return good(folder), made_run(folder / "b", journal(range(10, 16), right))


def other_subjects(folder: Path) -> Runs:
    lines = [outcome(image, "counting", "correct", subject="blue") for image in range(6)]
    return good(folder), made_run(folder / "b", lines, seed=9)


def empty_run(folder: Path) -> Runs:
    return good(folder), made_run(folder / "b", [])


def empty_claim(folder: Path) -> Runs:
    lines = journal(range(6), lambda image, claim: "infra_error" if claim == "position" else "correct")
    return good(folder), made_run(folder / "b", lines)


def claim_of_one(folder: Path) -> Runs:
    return good(folder), made_run(folder / "b", journal(range(6), right, ["counting"]))


def the_same(folder: Path) -> Runs:
    (folder / "link").symlink_to(folder / "a")
    return good(folder), folder / "link"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (missing, "there is no run at {b}"),
        (a_file, "is no run's folder"),
        (no_run, "is no run's folder: it has no config.json"),
        (another_kind, "is a run of synthesis; compare takes a run of probing or full"),
        (unfinished, "is not finished; run it to its end first"),
        (damaged_config, "config.json is damaged"),
        (damaged_line, "shard-00001.jsonl, line 7, is no outcome that can be read"),
        (other_claim_set, "were asked other claim sets: 'default' (cccccccccccc) and 'objects' (dddddddddddd)"),
        (other_judge, "other judges (probing.judge.chats: None and"),
        (other_images, "have no image in common"),
        (other_subjects, "no subject in common (probing.seed is 42 and 9)"),
        (empty_run, "has no outcome: nothing was asked there"),
        (empty_claim, "the claim 'position' has no pair to compare in {a} and {b} (6 infra error after)"),
        (claim_of_one, "the claim 'position' has no pair to compare in {a} and {b} (6 claim only before)"),
        (the_same, "is given twice; a run can't be compared with itself"),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_what_cant_be_compared_is_refused_before_anything_is_written(
    tmp_path: Path, make: Callable[[Path], Runs], message: str
) -> None:
    before, after = make(tmp_path)
    with pytest.raises(MillraceError) as refused:
        compared(tmp_path / "out", before, after)
    assert message.format(a=before, b=after) in str(refused.value)
    assert refused.value.exit_code == 2
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_model_whose_plug_in_is_gone_is_compared_all_the_same(tmp_path: Path) -> None:
    lines = journal(range(6), right)
    runs = made_run(tmp_path / "a", lines), made_run(tmp_path / "b", lines, baseline={"name": "guess", "seed": 1})
    config = runs[1] / "config.json"
    config.write_text(config.read_text().replace('"guess"', '"gone.away"'))
    summary = compared(tmp_path / "out", *runs)
    assert ["probing.baseline.name", "'guess'", "'gone.away'"] in summary["differing"]


def test_an_empty_claim_says_how_to_compare_the_others(tmp_path: Path) -> None:
    runs = empty_claim(tmp_path)
    with pytest.raises(InputError, match=r"--set compare.claims='\[counting\]'"):
        compared(tmp_path / "out", *runs)
    assert list(compared(tmp_path / "out", *runs, claims=("counting",))["claims"]) == ["counting"]


def test_a_claim_that_nobody_was_asked_is_named_with_the_nearest(tmp_path: Path) -> None:
    runs = good(tmp_path), made_run(tmp_path / "b", journal(range(6), right, model="two"))
    with pytest.raises(InputError, match=r"no claim 'countin' was asked in .*did you mean 'counting'"):
        compared(tmp_path / "out", *runs, claims=("countin",))
    with pytest.raises(InputError, match="no claim '' was asked"):
        compared(tmp_path / "out", *runs, claims=("",))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"margin": 0}, "'margin': input should be greater than 0"),
        ({"margin": 2}, "'margin': input should be less than 1"),
        ({"difference": -0.1}, "'difference': input should be greater than 0"),
        ({"alpha": 0.6}, "'alpha': input should be less than 0.5"),
        ({"draws": 3}, "'draws': input should be greater than or equal to 200"),
        ({"before": {"run": "a", "baseline": {"name": "guess"}}}, "has a `run` and a `baseline`"),
        ({"require": "best"}, "'require'"),
    ],
)
def test_a_setting_out_of_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_config(CompareSettings, settings, where="a test")
    assert message in str(refused.value)


def test_a_comparison_without_a_model_says_how_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no model 'before' to compare: name two finished runs"):
        Compare(CompareSettings(), HowAsked()).check(tmp_path, [])


def test_the_folder_of_another_run_is_not_written_over(tmp_path: Path) -> None:
    runs = good(tmp_path), made_run(tmp_path / "b", journal(range(6), right, model="two"))
    before = {path: path.read_bytes() for path in runs[0].rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="holds a run of probing; choose another --run-dir"):
        compared(runs[0], *runs)
    assert {path: path.read_bytes() for path in runs[0].rglob("*") if path.is_file()} == before


def test_models_that_are_probed_here_are_not_stopped_at_their_own_failures(tmp_path: Path) -> None:
    from flows.compare import CompareFlowConfig, parts

    sides = {"before": {"baseline": {"name": "guess"}}, "after": {"baseline": {"name": "guess", "seed": 1}}}
    config = CompareFlowConfig.model_validate({"compare": sides, "probing": {"target_failure_count": 10}})
    with pytest.raises(UsageError, match="ends each model's probing elsewhere"):
        parts(config)[1].check(tmp_path, ["before", "after"])


def test_a_run_and_a_model_are_refused_before_the_model_is_asked(tmp_path: Path) -> None:
    from flows.compare import CompareFlowConfig, parts

    sides = {"before": {"run": str(good(tmp_path))}, "after": {"baseline": {"name": "guess"}}}
    config = CompareFlowConfig.model_validate({"compare": sides, "probing": {"claims": "objects"}})
    with pytest.raises(InputError, match="other claim sets, 'default' and 'objects'"):
        parts(config)[1].check(tmp_path, ["after"])


def test_two_runs_as_arguments_are_settings_with_a_folder_of_their_own(tmp_path: Path) -> None:
    given = flow_arguments(["a", "b", "--set", "margin=0.01", "--set", "probing.seed=3"])
    assert given[:4] == ["--set", "compare.margin=0.01", "--set", "probing.seed=3"]
    assert f'compare.before.run="{Path("a").absolute()}"' in given
    assert given[-2] == "--run-dir"
    assert given == flow_arguments(["a", "b", "--set", "margin=0.01", "--set", "probing.seed=3"])
    assert flow_arguments(["a", "b", "--run-dir", "x"]).count("--run-dir") == 1
    assert flow_arguments(["--config", "two_runs"]) == ["--config", "two_runs"]


def test_verify_wants_a_finished_comparison(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no finished comparison"):
        verify(tmp_path)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        (
            "c/summary.json",
            '"alpha": 0.05',
            '"alpha": "some"',
            r"summary\.json is not of .* got `str` - at `\$\.settings\.alpha`",
        ),
        ("c/summary.json", '"folder": ', '"place": ', r"summary\.json is not of .* missing required field `folder`"),
        ("c/config.json", '"claims": []', '"claims": 3', r"config\.json is not of .* got `int` - at `\$\.compare\.claims`"),
        (
            "a/probing/shard-00001.jsonl",
            '"factors":',
            '"factors":7,"was":',
            r"shard-00001\.jsonl, line 1, is not of .*`\$\.factors`",
        ),
    ],
)
def test_verify_names_the_file_and_the_field_that_it_cannot_read(
    tmp_path: Path, file: str, old: str, new: str, says: str
) -> None:
    compared(tmp_path / "c", *two_runs(tmp_path, lambda image, claim: "wrong", lambda image, claim: "correct", images=6))
    path = tmp_path / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=says):
        verify(tmp_path / "c")


def test_a_setting_of_probing_brings_no_target_back() -> None:
    from flows.compare import CompareFlowConfig

    config = CompareFlowConfig.model_validate({"probing": {"sample_size": 30}})
    assert (config.probing.target_failure_count, config.probing.sample_size) == (None, 30)
