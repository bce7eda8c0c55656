"""Training by a user's command, and models that are given: what goes wrong is one sentence, and nothing is left running."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import MillraceError, RunFailed, UsageError
from millrace.improve.train import FAILED, begin_again, train_arm
from millrace.improve.trainers import command, given, trainer_settings
from millrace.records.improve import TrainingJob

WRITES = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(' '.join(sys.argv[2:]))"
MODEL = {"name": "embedded", "checkpoint": "{result}"}


def job(folder: Path, arm: str = "targeted", number: int = 0) -> TrainingJob:
    own = folder / "trainings" / f"{arm}-{number}"
    return TrainingJob(
        arm=arm,
        number=number,
        seed=5,
        steps=10,
        images_per_step=2,
        records_per_image=4,
        base={"name": "embedded"},
        folder=str(own),
        dataset=str(own / "llava.json"),
        tuning=str(folder / "tuning.json"),
        images=str(folder / "sets"),
        result=str(own / "model"),
    )


def trainer(*arguments: str, **more: Any) -> dict[str, Any]:
    return {"name": "command", "command": [sys.executable, "-c", *arguments], "model": MODEL, **more}


def test_a_command_gets_its_places_and_its_result_is_the_model(tmp_path: Path) -> None:
    one = job(tmp_path)
    trained = train_arm(one, trainer(WRITES, "{result}", "{dataset}", "{seed}", "{steps}", "{arm}"), 80)
    assert trained.model == {"name": "embedded", "checkpoint": one.result}
    assert Path(one.result).read_text() == f"{one.dataset} 5 10 targeted"


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    done = train_arm(job(tmp_path), trainer(WRITES, "{result}"), 80)
    assert train_arm(job(tmp_path), trainer("raise SystemExit(1)"), 80) == done


def test_what_a_killed_training_left_is_not_taken_for_a_model(tmp_path: Path) -> None:
    one = job(tmp_path)
    Path(one.result).mkdir(parents=True)
    (Path(one.result) / "half").write_text("half")
    with pytest.raises(RunFailed, match="left nothing"):
        train_arm(one, trainer("pass"), 80)


@pytest.mark.parametrize(
    ("program", "limit_s", "said"),
    [
        ("import sys; print('no room on the card', file=sys.stderr); sys.exit(7)", 60, r"targeted-0 ended with 7 \(no room on"),
        ("pass", 60, "targeted-0 left no model that loads: .* left nothing at"),
        ("import time; time.sleep(600)", 0.5, "targeted-0 had not ended after 0 s and was stopped"),
    ],
    ids=["fails", "writes nothing", "hangs"],
)
def test_a_command_that_fails_hangs_or_writes_nothing_is_one_sentence(
    tmp_path: Path, program: str, limit_s: float, said: str
) -> None:
    started = time.monotonic()
    with pytest.raises(RunFailed, match=said) as error:
        train_arm(job(tmp_path), trainer(program, time_limit_s=limit_s), 80)
    assert "\n" not in str(error.value)
    assert time.monotonic() - started < 30


def test_after_one_has_failed_the_others_are_not_begun(tmp_path: Path) -> None:
    with pytest.raises(RunFailed):
        train_arm(job(tmp_path), trainer("raise SystemExit(1)"), 80)
    with pytest.raises(RunFailed, match="untargeted-0 was not begun, for another had failed: the training targeted-0"):
        train_arm(job(tmp_path, "untargeted"), trainer(WRITES, "{result}"), 80)
    assert (tmp_path / "trainings" / FAILED).exists()
    begin_again(tmp_path / "trainings")
    assert train_arm(job(tmp_path, "untargeted"), trainer(WRITES, "{result}"), 80).arm == "untargeted"


def test_a_program_that_cannot_be_started_is_said_before_anything_is_started() -> None:
    settings = command.TrainerSettings(command=("/no/such/program",), model=MODEL)
    with pytest.raises(UsageError, match="'/no/such/program' is not there"):
        command.check(settings, {}, ["targeted"], 3)


def test_a_command_without_a_model_is_refused() -> None:
    with pytest.raises(UsageError, match=r"needs improve\.trainer\.command"):
        command.check(command.TrainerSettings(command=("true",)), {}, ["targeted"], 3)


def test_given_models_must_be_one_for_each_arm_and_seed() -> None:
    settings = given.TrainerSettings(models={"targeted": ({"name": "embedded"},)})
    with pytest.raises(UsageError, match=r"has 1 models of the arm 'targeted'; improve\.seeds asks for 2"):
        given.check(settings, {}, ["targeted"], 2)


def test_given_models_are_used_as_they_are(tmp_path: Path) -> None:
    models = {"targeted": [{"name": "embedded", "checkpoint": "a"}, {"name": "embedded", "checkpoint": "b"}]}
    trained = train_arm(job(tmp_path, number=1), {"name": "given", "models": models}, 80)
    assert (trained.model["checkpoint"], trained.seconds) == ("b", None)


def test_an_unknown_trainer_is_said_with_what_is_there() -> None:
    with pytest.raises(MillraceError, match="no trainer named 'comand'; did you mean 'command'"):
        trainer_settings({"name": "comand"})


def test_the_embedded_trainer_refuses_another_baseline_in_one_sentence() -> None:
    fine_tune = pytest.importorskip("millrace.digits.baseline.fine_tune")
    with pytest.raises(UsageError, match=r"this run's is 'endpoint'; set improve\.trainer\.name to command"):
        fine_tune.check(fine_tune.TrainerSettings(), {"name": "endpoint"}, ["targeted"], 3)
