"""The embedded trainer: what it learns from, that it is the same each time, and once the whole way through torchrun."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from millrace.improve.steps import images_of_steps
from millrace.records.improve import TrainingJob, TrainingRecord
from tests.improve.fake_world import picture, stored

torch = pytest.importorskip("torch")
fine_tune_program = pytest.importorskip("millrace.digits.baseline.fine_tune_program")


def record(number: int, **changes: Any) -> TrainingRecord:
    whole = {
        "id": f"out_{number}",
        "image": f"images/{number % 3}.png",
        "sha256": f"{number % 3}",
        "claim_id": "counting_object_instances",
        "claim": "There are [COUNT] red digits.",
        "slots": ("COUNT",),
        "answerable": True,
        "correct": {"COUNT": "2"},
        "accepted": {"COUNT": ("2",)},
        "answers_of": f"out_{number}",
    }
    return TrainingRecord(**{**whole, **changes})


def job(folder: Path, steps: int = 5) -> TrainingJob:
    names = ("folder", "dataset", "tuning", "images", "result")
    places = {name: str(folder / name) for name in names}
    return TrainingJob(arm="a", number=0, seed=3, steps=steps, images_per_step=2, records_per_image=4, base={}, **places)


def test_what_is_right_is_the_accepted_answer_or_abstaining() -> None:
    from millrace.digits.claim_vocabulary import ANSWERS

    (place,) = fine_tune_program.right_answers(record(1), "COUNT")
    assert ANSWERS[place] == ("count", "2")
    assert fine_tune_program.right_answers(record(1, answerable=False, accepted={}), "COUNT") == (len(ANSWERS) - 1,)


def test_of_a_share_the_step_nearest_to_it_is_right_and_not_the_ends_of_what_a_judge_lets_pass() -> None:
    from millrace.digits.claim_vocabulary import ANSWERS

    share = {"slots": ("PROPORTION",), "correct": {"PROPORTION": "7.6%"}, "accepted": {"PROPORTION": ("5.3%", "10.6%")}}
    (place,) = fine_tune_program.right_answers(record(1, **share), "PROPORTION")
    assert ANSWERS[place] == ("percent", "8%")


def test_every_step_has_as_many_images_and_all_come_before_one_comes_again(tmp_path: Path) -> None:
    steps = list(images_of_steps(5, job(tmp_path, steps=5)))
    assert [len(chosen) for chosen in steps] == [2] * 5
    flat = [image for chosen in steps for image in chosen]
    assert sorted(flat[:5]) == sorted(flat[5:]) == [0, 1, 2, 3, 4]


def test_the_same_records_give_the_same_weights_and_they_are_others_than_before(tmp_path: Path) -> None:
    from millrace.digits.baseline.lesson_book import MEANINGFUL
    from millrace.digits.baseline.model import ModelSize
    from millrace.digits.baseline.trained_folder import new_model
    from millrace.digits.claim_vocabulary import ANSWERS

    (tmp_path / "images" / "images").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "images" / "images" / f"{number}.png").write_bytes(stored(picture(number)))
    words = sorted({*MEANINGFUL, "there", "are", "digits"})
    size = ModelSize(words=len(words) + 1, answers=len(ANSWERS))
    book = fine_tune_program.write_book(
        [record(number) for number in range(12)], tmp_path / "images", words, side=size.side, length=size.max_words
    )

    def trained(steps: int, hold: float = 0.0, blend: float = 1.0) -> dict[str, Any]:
        torch.manual_seed(0)
        model = new_model(size, words)
        fine_tune_program.fine_tune(model, book, job(tmp_path, steps), fine_tune_program.Cycle(1e-3, 0.02, hold, blend))
        state: dict[str, Any] = model.state_dict()
        return state

    one, two, none = trained(5), trained(5), trained(0)
    assert all(torch.equal(one[name], two[name]) for name in one)
    changed = {name for name in one if not torch.equal(one[name], none[name])}
    assert any(name.startswith("encoder") for name in changed)
    assert any(name.startswith("reader") for name in changed)
    assert not any("running" in name for name in changed), "batch norm stays as it is"

    def moved(state: dict[str, Any]) -> float:
        return sum(float((state[name].float() - none[name].float()).abs().sum()) for name in state)

    assert moved(trained(5, blend=0.5)) == pytest.approx(moved(one) / 2, rel=1e-3)


def test_only_what_the_base_got_right_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fine_tune_program, "answers", lambda model, *asked: torch.tensor([[3.0, 0.0], [3.0, 0.0]]))
    said = torch.log_softmax(torch.tensor([[3.0, 0.0], [0.0, 3.0]]), -1)
    first_is_right = torch.tensor([[True, False], [True, False]])
    same, other = fine_tune_program.drift(None, (), first_is_right, said).tolist()
    assert same == pytest.approx(0.0, abs=1e-6)
    assert other > 1
    assert fine_tune_program.drift(None, (), ~first_is_right, said).tolist() == [0.0, 0.0]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_embedded_baseline_is_probed_trained_and_judged_and_every_figure_verified(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace.improve.settings import ImproveSettings
    from millrace.improve.stage import Improve
    from millrace.improve.verification.figures_again import differing_figures
    from millrace.probing.settings import ProbingConfig
    from millrace.probing.stage import AskAnother, Probing
    from millrace.records.results.improve import ImproveSummary
    from millrace.run.local import open_local_run
    from millrace.run.stage import check_in_order

    monkeypatch.setenv("MILLRACE_CACHE", str(cache))
    probing = ProbingConfig.model_validate(
        {
            "lake": {"images": 40},
            "target_failure_count": None,
            "sample_size": 40,
            "baseline": {"name": "embedded", "scenes": 60, "epochs": 1, "reader_steps": 20},
        }
    )
    settings = ImproveSettings.model_validate(
        {"arms": ["targeted", "untargeted"], "images": 15, "steps": 8, "seeds": 2, "test": {"images": 15}}
    )
    stages = [Probing(probing), Improve(settings, AskAnother(probing))]
    check_in_order(stages, tmp_path)
    with open_local_run("improve", {stage.section: stage.config for stage in stages}, tmp_path, workers=2) as run:
        summary = [run.do(stage) for stage in stages][-1]
        run.finish(stages)
    assert isinstance(summary, ImproveSummary)
    assert summary.models == 4
    assert len(set(summary.rates)) == 5
    assert (tmp_path / "improve" / "trainings" / "targeted-1" / "model" / "baseline.json").exists()
    assert differing_figures(tmp_path)[1] == []
