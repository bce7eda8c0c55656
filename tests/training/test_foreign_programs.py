"""Other people's training programs: what they print is read as they mean it, and a success is not taken for a failure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins
from pydantic import BaseModel

from millrace.config import parse_config
from millrace.errors import UsageError
from millrace.processes.containment import memory_controller
from millrace.records.training.doctor import SourceMeans
from millrace.training.campaign import open_campaign
from millrace.training.doctor import examine, main
from millrace.training.energy import Domain
from millrace.training.judgement import Verdict, judge
from millrace.training.launch import environment_for, gpu_memory_limited_by
from millrace.training.observation import Observation
from millrace.training.parameters import Parameter, arguments
from millrace.training.programs import build_command, load_program
from millrace.training.settings import Resources, TrainingConfig, TrainingJob


def observed(
    lines: list[str], asked: dict[str, Any] | None = None, code: int = 0, **external: Any
) -> tuple[Observation, Verdict]:
    """What is made of a program that prints `lines` and ends with `code`."""
    known = {"epochs": {"type": "int", "default": 3}, "lr": {"default": 1.0}, "batch_size": {"type": "int", "default": 8}}
    settings = {"command": [sys.executable, "train.py"], "parameters": known} | external
    config = parse_config(TrainingConfig, {"external": {"mine": settings}}, where="the test")
    program = load_program("mine", config)
    seen = Observation(program)
    for line in lines:
        seen.take_line(line)
    return seen, judge(program, asked or {}, code, seen, tail=seen.tail())


@pytest.mark.parametrize("first", [0, 1])
def test_a_program_that_counts_its_epochs_from_zero_or_one_has_done_all_of_them(first):
    lines = [f"Epoch {n} done" for n in range(first, first + 3)]
    seen, verdict = observed(lines, epoch=r"Epoch (\d+) done", epochs_parameter="epochs")
    assert verdict.ok, verdict
    assert seen.epochs_done == 3
    short, verdict = observed(lines[:-1], epoch=r"Epoch (\d+) done", epochs_parameter="epochs")
    assert (verdict.failure, short.epochs_done) == ("incomplete", 2)


def test_a_program_that_goes_on_from_a_checkpoint_can_say_that_its_epochs_begin_at_zero():
    _, verdict = observed(["Epoch 1", "Epoch 2"], epoch=r"Epoch (\d+)", epochs_parameter="epochs", first_epoch=0)
    assert verdict.ok, verdict
    _, verdict = observed(["Epoch 1", "Epoch 2"], epoch=r"Epoch (\d+)", epochs_parameter="epochs")
    assert verdict.failure == "incomplete"


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        (r"epoch done, loss=(?P<loss>\S+)", ["epoch done, loss=0.9", "epoch done, loss=0.5", "epoch done, loss=0.25"]),
        (r"loss=(?P<loss>\S+) after epoch (\d+)", [f"loss={v} after epoch {n}" for n, v in enumerate((0.9, 0.5, 0.25), 1)]),
        (r"epoch (?P<epoch>\d+) loss (?P<loss>\S+)", [f"epoch {n} loss {v}" for n, v in enumerate((0.9, 0.5, 0.25))]),
        (r"epoch (\S+) loss (?P<loss>\S+)", [f"epoch [{n}/3] loss {v}" for n, v in enumerate((0.9, 0.5, 0.25), 1)]),
    ],
)
def test_a_named_group_is_a_metric_and_never_the_number_of_the_epoch(pattern, lines):
    seen, verdict = observed(lines, epoch=pattern, epochs_parameter="epochs")
    assert verdict.ok, verdict
    assert seen.epochs_done == len(seen.epochs) == 3
    assert seen.metrics == {"loss": 0.25}


def test_progress_in_parts_of_an_epoch_ends_none_and_two_lines_of_one_epoch_end_it_once():
    lines = [f"{{'loss': {1 - n / 8}, 'epoch': {n / 2}}}" for n in range(1, 7)]
    lines.insert(2, "{'loss': 0.7, 'epoch': 1.0}")
    seen, verdict = observed(lines, epoch=r"'loss': (?P<loss>[\d.]+), 'epoch': ([\d.]+)", epochs_parameter="epochs")
    assert verdict.ok, verdict
    assert [event.n for event in seen.epochs] == [1, 2, 3]
    assert seen.metrics["loss"] == 0.25


def test_progress_bars_and_colours_hide_nothing():
    lines = ["  10%|#   |\r 100%|####|\r\x1b[32mEpoch 0 done\x1b[0m acc: \x1b[1m97.5%\x1b[0m", "\rfinished"]
    seen, verdict = observed(lines, epoch=r"^Epoch (\d+) done", metrics={"acc": r"acc: (\S+)"}, success=r"^finished$")
    assert verdict.ok, verdict
    assert (seen.metrics, seen.epochs_done) == ({"acc": 97.5}, 1)


@pytest.mark.parametrize(
    ("pattern", "line", "value"),
    [
        (r"top5=\d\.\d+", "top5=0.75", 0.75),
        (r"items: (\S+)", "items: 1,234", 1234.0),
        (r"took (.+)$", "took 1.5e-3 s", 0.0015),
        (r"score (\S+)", "score 0,5", None),  # half, or five? unknown is not a number of our choice
        (r"score (.+)$", "score n/a", None),
    ],
)
def test_a_metric_is_the_number_that_is_there_and_nothing_else(pattern, line, value):
    seen, verdict = observed([line], metrics={"it": pattern})
    assert seen.metrics.get("it") == value
    assert verdict.failure == (None if value is not None else "metrics_missing")


def test_a_program_that_echoes_a_whole_float_or_only_some_values_trained_with_what_was_asked():
    asked = {"lr": 1.0, "batch_size": 8}
    events = ['{"event": "start", "hyperparameters": {"lr": 1}}', '{"event": "end", "ok": true}']
    _, verdict = observed(events, asked, adapter="jsonl")
    assert verdict.ok, verdict
    _, verdict = observed([events[0].replace("1}", "2}"), events[1]], asked, adapter="jsonl")
    assert verdict.failure == "echo_mismatch"


@pytest.mark.parametrize(
    ("external", "message"),
    [
        ({"epoch": "Epoch ((\\d+)"}, "not a regular expression"),
        ({"metrics": {"acc": "["}}, "not a regular expression"),
        ({"epochs_parameter": "epochs"}, "only with an `epoch` pattern"),
    ],
)
def test_patterns_that_no_training_could_satisfy_are_refused_before_anything_is_started(external, message):
    with pytest.raises(UsageError, match=message):
        observed([], **external)


@pytest.mark.parametrize(
    ("code", "output", "failure"),
    [
        (2, "usage: train.py [-h] [--lr LR]\ntrain.py: error: unrecognized arguments: --lrr 0.1", "bad_config"),
        (2, "Usage: train.py [OPTIONS]\nTry 'train.py --help' for help.\n\nError: No such option: --lrr", "bad_config"),
        (2, "python: can't open file '/nowhere/train.py': [Errno 2] No such file or directory", "bad_config"),
        (1, "Traceback (most recent call last):\n  ...\nModuleNotFoundError: No module named 'torchvision'", "import_failed"),
        (1, '  File "train.py", line 3\n    def\nSyntaxError: invalid syntax', "import_failed"),
        (127, "bash: train.sh: command not found", "command_missing"),
        (1, "Traceback (most recent call last):\nRuntimeError: connection reset", "exit_code"),
        (2, "gave up after a deadlock", "exit_code"),
    ],
)
def test_wrong_usage_and_missing_modules_are_not_tried_again_and_what_may_pass_is(code, output, failure):
    _, verdict = observed(output.splitlines(), code=code)
    assert verdict.failure == failure
    assert verdict.worth_retrying == (failure == "exit_code")


def test_an_import_error_that_was_survived_is_not_what_ended_a_training():
    lines = ["ModuleNotFoundError: No module named 'apex', going on without", "Epoch 1", "CUDA error: device lost"]
    _, verdict = observed(lines, code=1, epoch=r"Epoch (\d+)")
    assert verdict.failure == "exit_code"


def foreign_run(tmp_path, command: list[str], **job: Any) -> dict[str, Any]:
    data = {
        "mode": "default",
        "experiments": [{"workload": "mine"} | job],
        "external": {"mine": {"command": [sys.executable, "-c", "print('hello')", *command]}},
        "energy": {"idle_s": 0},
    }
    config = parse_config(TrainingConfig, data, where="the test")
    with open_campaign(config, tmp_path / "run") as campaign:
        (run,) = campaign.pending()
        return to_builtins(campaign.run_one(run)) | {"notes": campaign.plan.notes}


def test_what_a_foreign_program_was_not_told_is_not_recorded_as_in_force(tmp_path):
    resources = {"device": "cuda:1", "gpu_memory_fraction": 0.5}
    record = foreign_run(tmp_path, [], processes=4, resources=resources, checkpoint_every=1)
    assert record["ok"], record["failure_detail"]
    assert (record["device"], record["processes"]) == (None, None)
    assert record["containment"]["gpu_memory_limited_by"].startswith("none: its command has no {gpu_memory_fraction}")
    for name in ("processes 4", "device cuda:1", "gpu_memory_fraction 0.5", "checkpoint_every"):
        assert any(f"{name} has no effect" in note for note in record["notes"]), name


def test_what_a_foreign_program_was_told_is_recorded(tmp_path):
    told = ["--gpu={device}", "{processes}", "{gpu_memory_fraction}"]
    record = foreign_run(tmp_path, told, processes=4, resources={"device": "cuda:1", "gpu_memory_fraction": 0.5})
    assert (record["device"], record["processes"], record["notes"]) == ("cuda:1", 4, [])
    assert "whether it obeys is not known" in record["containment"]["gpu_memory_limited_by"]


def test_a_gpu_limit_is_not_promised_on_a_cpu_nor_by_a_daemon_that_has_ended(tmp_path, monkeypatch):
    program = load_program("tabular_mlp", TrainingConfig())
    on_cpu = TrainingJob(resources=Resources(gpu_memory_fraction=0.5, gpu_memory_limit_mb=100))
    assert gpu_memory_limited_by(on_cpu, program) == "none: the device is cpu"
    os.mkfifo(tmp_path / "control")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    on_gpu = TrainingJob(resources=Resources(device="cuda:1", gpu_memory_limit_mb=100))
    assert gpu_memory_limited_by(on_gpu, program).startswith("none: no MPS daemon runs")
    assert environment_for(on_gpu, program)["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] == "1=100M"
    reader = os.open(tmp_path / "control", os.O_RDONLY | os.O_NONBLOCK)
    assert gpu_memory_limited_by(on_gpu, program) == "CUDA MPS"
    os.close(reader)


def test_the_doctor_promises_only_what_is_used(capsys, monkeypatch):
    class Readable:
        domains = (Domain("cpu", "process_tree", "codecarbon_tdp_model"),)

        def close(self) -> None:
            pass

    monkeypatch.setattr("millrace.training.energy.codecarbon.open_source", lambda settings: Readable())
    found = examine()
    assert found.energy["codecarbon"] == SourceMeans(available=True, domains=["cpu"], used=False)
    main([])
    shown = capsys.readouterr().out
    assert "(not used: it is not under energy.providers)" in shown
    assert ("memory limits: it has no memory controller" in shown) == (
        found.containment["cgroup"].available and not memory_controller()
    )
    assert shown.count("is stronger)") == sum(one.available for one in found.containment.values()) - 1 - (
        found.containment["cgroup"].available
    )


@pytest.mark.parametrize(
    ("external", "words"),
    [
        ({}, ["--amp", "true", "--batch-size", "8", "--lr", "0.1"]),
        ({"underscores": True}, ["--amp", "true", "--batch_size", "8", "--lr", "0.1"]),
        ({"passed_as": "equals"}, ["--amp=true", "--batch-size=8", "--lr=0.1"]),
        ({"passed_as": "override"}, ["amp=true", "batch_size=8", "lr=0.1"]),
    ],
)
def test_hyperparameters_stand_on_the_command_line_as_the_program_takes_them(external, words):
    known = {"amp": {"type": "bool"}, "batch_size": {"type": "int"}, "lr": {}}
    config = parse_config(
        TrainingConfig, {"external": {"mine": {"command": ["train"], "parameters": known} | external}}, where=""
    )
    program = load_program("mine", config)
    values = program.complete({"amp": True, "batch_size": 8, "lr": 0.1}, where="")
    assert build_command(program, TrainingJob(), values, Path("/out")) == ["train", *words]


def test_switches_and_names_of_hydra_are_spelled_as_asked():
    known = {
        "amp": Parameter(type="bool", passed_as="switch", off_flag="--no-amp"),
        "fast": Parameter(type="bool", passed_as="switch"),
        "lr": Parameter(passed_as="override", flag="optimizer.lr"),
    }
    assert arguments(known, {"amp": True, "fast": True, "lr": 0.5}) == ["--amp", "--fast", "optimizer.lr=0.5"]
    assert arguments(known, {"amp": False, "fast": False, "lr": 0.5}) == ["--no-amp", "optimizer.lr=0.5"]
    with pytest.raises(ValueError, match="its type must be bool"):
        Parameter(passed_as="switch")


def test_a_command_that_is_repeated_by_hand_leaves_what_was_recorded_as_it_was(tmp_path):
    code = "import os, sys; open(os.path.join(sys.argv[1], 'it\\'s.txt'), 'a').write('one line\\n'); print(os.getcwd())"
    data = {
        "mode": "default",
        "experiments": [{"workload": "mine", "env": {"WHERE": "{out}"}}],
        "external": {"mine": {"command": [sys.executable, "-c", code, "{out}"]}},
        "energy": {"idle_s": 0},
    }
    config = parse_config(TrainingConfig, data, where="the test")
    folder = tmp_path / "a run's folder"
    with open_campaign(config, folder) as campaign:
        record = to_builtins(campaign.run_one(campaign.pending()[0]))
    place = folder / record["id"] / "attempt-1"
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = subprocess.run(
        ["sh", place / "command.sh"],
        env=os.environ | {"OUT": str(tmp_path / "again")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert (tmp_path / "again" / "it's.txt").read_text() == "one line\n"
    assert done.stdout.strip() == str(tmp_path / "again")


def test_setting_one_key_of_a_part_leaves_its_other_defaults_as_they_are():
    for name, field in TrainingConfig.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, BaseModel):
            assert default == type(default)(), f"{name} has other defaults by itself than as a part of the config"
    assert parse_config(TrainingConfig, {"cool_down": {"check_every_s": 2}}, where="").cool_down.max_s == 5.0


def test_lines_that_are_timed_by_their_arrival_come_promptly_and_others_do_not_wake_the_machine():
    read, _ = observed([], epoch=r"Epoch (\d+)")
    told, _ = observed([], adapter="jsonl")
    assert read.line_delay_s <= 0.01 < told.line_delay_s


def test_figures_of_a_foreign_program_that_are_none_are_unknown_and_do_not_end_its_measurement():
    epochs = [
        '{"event": "epoch", "n": null, "t": "now", "started": "then", "wall_s": NaN, "loss": "low", "metrics": [1]}',
        '{"event": "epoch", "n": "two", "wall_s": Infinity, "cpu_s": {}, "metrics": {"acc": 0.5, "note": "x"}}',
        '{"event": "end", "ok": true, "epochs_done": "all"}',
        '{"event": 4}',
        '["event"]',
    ]
    seen, verdict = observed(epochs, adapter="jsonl")
    assert verdict.ok, verdict
    assert (seen.epochs_done, seen.metrics) == (2, {"acc": 0.5})
    for event in seen.epochs:
        assert event.wall_s >= 0
        assert isinstance(event.started, float)
        assert event.loss is None
        assert event.cpu_s is None


def test_events_that_count_epochs_from_zero_are_all_of_them_too():
    lines = [f'{{"event": "epoch", "n": {n}}}' for n in range(3)] + ['{"event": "end", "ok": true}']
    seen, verdict = observed(lines, adapter="jsonl", epochs_parameter="epochs")
    assert verdict.ok, verdict
    assert seen.epochs_done == 3


def test_a_metric_that_is_no_number_is_left_out_of_its_epoch_and_the_line_is_kept_as_it_was(tmp_path):
    settings = {"command": ["train"], "adapter": "jsonl"}
    config = parse_config(TrainingConfig, {"external": {"mine": settings}}, where="the test")
    seen = Observation(load_program("mine", config), tmp_path / "events.jsonl")
    seen.take_line('{"event": "epoch", "n": 1, "t": 5, "metrics": {"note": "x", "acc": 1, "big": [1], "ok": true}, "mine": [1]}')
    seen.take_line('{"event": "epoch", "n": 2, "samples_total": 1' + "0" * 400 + ', "loss": 1' + "0" * 30 + "}")
    seen.close()
    first, second = seen.epochs
    assert first.metrics == {"acc": 1, "ok": 1.0}
    assert (second.samples_total, second.loss) == (None, None)
    (line, _) = (tmp_path / "events.jsonl").read_text().splitlines()
    assert json.loads(line)["metrics"]["note"] == "x"
    assert json.loads(line)["mine"] == [1]
    assert list(json.loads(line)) == ["event", "n", "t", "metrics", "mine"]


def test_an_error_of_a_foreign_program_is_a_verdict_whatever_its_fields_are():
    _, verdict = observed(['{"event": "error", "kind": 5, "message": ["a"]}'], adapter="jsonl", code=1)
    assert (verdict.failure, verdict.detail) == ("5", "['a']")
    _, verdict = observed(['{"event": "error"}'], adapter="jsonl", code=1)
    assert (verdict.failure, verdict.detail) == ("exception", "")
