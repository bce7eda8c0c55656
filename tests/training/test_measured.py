"""`millrace measure`: a command as it is, alone and beside others."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from pathlib import Path

import psutil
import pytest

from millrace.config import parse_config
from millrace.errors import RunFailed, UsageError
from millrace.records.training.attempt import AttemptRecord
from millrace.records.training.look import TrainingLook
from millrace.run.journal import read_record, write_json
from millrace.training.campaign import open_campaign, plan_for
from millrace.training.measuring.look import in_words
from millrace.training.measuring.measure_command import add_arguments, flow_arguments
from millrace.training.measuring.measured import experiments_of, preview
from millrace.training.settings import TrainingConfig

TRAIN = """
import pathlib, time
pathlib.Path("started").open("a").write("x")
for n in range(1, 9):
    time.sleep(0.1)
    print(f"epoch {n}/8: loss {1 / n:.3f}")
"""
SILENT = "import time\nwhile True: time.sleep(0.05)\n"


def quiet(_: str) -> None:
    """Say nothing."""


def config_of(folder: Path, program: str, **measure: object) -> TrainingConfig:
    """A config that measures `program` in `folder`."""
    (folder / "train.py").write_text(program)
    measured = {"command": f"{shlex.quote(sys.executable)} train.py", "cwd": str(folder), **measure}
    rest = {"energy": {"idle_s": 0}, "cool_down": {"max_s": 0}, "colocation": {"background_alone_s": 0}, "retry_wait_s": 0}
    return parse_config(TrainingConfig, {"measure": measured, **rest}, where="the test")


def test_a_command_is_looked_at_once_and_then_measured_beside_one_that_prints_nothing(tmp_path):
    (tmp_path / "other.py").write_text(SILENT)
    config = config_of(tmp_path, TRAIN, beside=[f"{shlex.quote(sys.executable)} other.py"])
    said: list[str] = []
    made = experiments_of(config, tmp_path / "training", said.append)
    assert said[1:] == in_words(read_record(tmp_path / "training/look.json", TrainingLook))
    assert re.search(r"a line that ends an epoch .*: epoch \d/8: loss 0\.\d+$", said[1])
    assert said[2].startswith("metrics: loss 0.")
    plan = plan_for(made)
    assert [run.title for run in plan.runs] == ["train.py beside 1/1 beside 1 background"]
    assert plan.notes == said[1:]
    with open_campaign(made, tmp_path / "training", plan) as campaign:
        record = campaign.run_one(plan.runs[0])
    assert isinstance(record, AttemptRecord)
    assert record.ok, record.failure_detail
    assert [epoch.n for epoch in record.epochs] == list(range(1, 9))
    assert {epoch.load for epoch in record.epochs} >= {"solo", "shared"}
    assert record.metrics == {"loss": 0.125}
    again = experiments_of(config, tmp_path / "training", quiet)
    assert again == made
    assert (tmp_path / "started").read_text() == "xx", "one look, one run"


def test_a_command_that_fails_while_it_is_looked_at_says_so_with_its_last_lines(tmp_path):
    config = config_of(tmp_path, "print('about to'); raise SystemExit('no data in /data')")
    with pytest.raises(RunFailed, match=r"exit code 1 .*about to / no data in /data"):
        experiments_of(config, tmp_path / "training", quiet)
    assert not (tmp_path / "training/look.json").exists()


def look(**given: object) -> TrainingLook:
    """A look's record."""
    usual = {"unit": "epoch", "epoch": r"epoch (\d+)", "ready": None, "metrics": {}, "line": "epoch 3", "values": {}, "seen": 3}
    return TrainingLook(**{"command": ["x"], "every_s": 1.0, "of": None, "ended": "enough was seen", **usual, **given})


@pytest.mark.parametrize(
    ("seen", "beside", "experiments", "windows", "per_window"),
    [
        ({}, ["tabular_mlp"], ["train.py beside"], "interleaved", 2),
        ({"every_s": 60.0, "of": 100}, ["tabular_mlp"], ["train.py beside"], "interleaved", 1),
        ({"every_s": 0.1, "of": 16}, ["tabular_mlp"], ["train.py beside"], "interleaved", 2),
        ({"of": 3}, ["tabular_mlp"], ["train.py alone", "train.py beside"], "shared", 1),
        ({"unit": "nothing", "epoch": None}, ["tabular_mlp"], ["train.py alone", "train.py beside"], "shared", 2),
        ({}, [], ["train.py alone"], "interleaved", 1),
    ],
)
def test_what_was_seen_decides_how_it_is_compared(tmp_path, seen, beside, experiments, windows, per_window):
    config = config_of(tmp_path, TRAIN, beside=beside, runs=2)
    (tmp_path / "training").mkdir()
    write_json(tmp_path / "training/look.json", look(**seen))
    made = experiments_of(config, tmp_path / "training", quiet)
    assert [experiment.name for experiment in made.experiments] == experiments
    assert (made.colocation.windows, made.colocation.epochs_per_window) == (windows, per_window)
    assert len(plan_for(made).runs) == 2 * len(experiments)


def test_a_pattern_of_the_users_needs_no_look(tmp_path):
    config = config_of(tmp_path, TRAIN, epoch=r"epoch (\d+)", metrics={"quality": r"loss (\S+)"})
    made = experiments_of(config, tmp_path / "training", quiet)
    assert (made.external["train.py"].epoch, made.external["train.py"].metrics) == (r"epoch (\d+)", {"quality": r"loss (\S+)"})
    assert not (tmp_path / "started").exists()


def test_two_commands_of_one_script_are_two_and_one_command_twice_is_one(tmp_path):
    other = f"{shlex.quote(sys.executable)} train.py --other"
    made = preview(config_of(tmp_path, TRAIN, beside=[other, other]))
    assert set(made.external) == {"train.py", "train.py-2"}
    assert [background.workload for background in made.experiments[0].backgrounds] == ["train.py-2", "train.py-2"]
    assert len(plan_for(made).runs[0].backgrounds) == 2


@pytest.mark.parametrize(
    ("measure", "message"),
    [
        ({"command": "no-such-program --x"}, r"measure\.command: there is no program 'no-such-program'"),
        ({"command": "'unclosed"}, r"measure\.command: No closing quotation"),
        ({"beside": ["no-such-program"]}, r"measure\.beside\.0: there is no program"),
        ({"cwd": "/no/such/folder"}, r"measure\.cwd: there is no folder"),
        ({"epoch": "("}, r"'\(' is not a regular expression"),
        ({"command": ""}, r"measure\.command"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(tmp_path, measure, message):
    with pytest.raises(UsageError, match=message):
        preview(config_of(tmp_path, TRAIN, **measure))


def test_measure_stands_instead_of_experiments(tmp_path):
    with pytest.raises(UsageError, match="give one or the other"):
        parse_config(TrainingConfig, {"measure": {"command": "x"}, "experiments": [{"workload": "lstm"}]}, where="the test")


def test_the_command_says_exactly_what_the_flow_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = ["--beside", "a b", "--metric", "acc=top1=(.*)", "--runs", "3", "--set", "seed=1"]
    given = flow_arguments(parser.parse_args([*options, "--", "python", "t.py", "--lr", "0.1 x"]))
    assert given[::2] == ["--set"] * 6
    assert given[1::2] == [
        """measure.command="python t.py --lr '0.1 x'\"""",
        'measure.beside=["a b"]',
        f'measure.cwd="{tmp_path}"',
        "measure.runs=3",
        'measure.metrics={"acc": "top1=(.*)"}',
        "seed=1",
    ]


def test_nothing_of_a_look_is_left_when_it_has_ended(tmp_path):
    config = config_of(tmp_path, TRAIN.replace("time.sleep(0.1)", "time.sleep(0.02)").replace("9", "999999"))
    experiments_of(config, tmp_path / "training", quiet)
    commands = [" ".join(child.cmdline()) for child in psutil.Process().children(recursive=True)]
    assert not [command for command in commands if "train.py" in command]
    assert read_record(tmp_path / "training/look.json", TrainingLook).ended == "enough was seen"
