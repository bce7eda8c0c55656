"""What the shipped workloads keep beyond the contract (tests/testing): they learn, stop, go on, and run on several ranks."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.plugins.loading import plugin_names
from millrace.training.launch import environment_for, loopback_interface
from millrace.training.parameters import arguments
from millrace.training.programs import build_command, load_program
from millrace.training.settings import Resources, TrainingConfig, TrainingJob
from millrace.training.trainer import worker

ROOT = Path(__file__).resolve().parents[2]
NAMES = plugin_names("millrace.training.workloads")
SMALL = {"epochs": 2, "lr": 0.0012345678901234567, "batch_size": 17, "seed": 7, "max_samples": 68}
"""So that even the DenseNet takes a second; the learning rate has all its digits, because they must arrive."""


def command_of(name: str, out: Path, *extra: str, values: dict | None = None) -> list[str]:
    module = importlib.import_module(f"millrace.training.workloads.{name}")
    return [name, *arguments(module.PARAMETERS, values or SMALL), "--out", str(out), "--threads", "1", *extra]


def train(name: str, out: Path, *extra: str, values: dict | None = None) -> subprocess.CompletedProcess:
    """The training program in this process: a process of its own would spend most of its time on importing torch."""
    torch = pytest.importorskip("torch")
    said, complained = io.StringIO(), io.StringIO()
    term, threads = signal.getsignal(signal.SIGTERM), torch.get_num_threads()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
            code = worker.main(command_of(name, out, *extra, values=values))
    finally:
        signal.signal(signal.SIGTERM, term)
        torch.set_num_threads(threads)
    return subprocess.CompletedProcess([name], code, said.getvalue(), complained.getvalue())


def train_apart(*command: str, env: dict | None = None) -> subprocess.CompletedProcess:
    """The training program as it really runs."""
    return subprocess.run(
        [sys.executable, "-m", "millrace.training.trainer.worker", *command],
        capture_output=True, text=True, cwd=ROOT, check=False, env=os.environ | (env or {}),
    )  # fmt: skip


def events(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_workload_declares_the_common_hyperparameters(name):
    module = importlib.import_module(f"millrace.training.workloads.{name}")
    assert {"epochs", "lr", "batch_size", "seed", "weight_decay"} <= set(module.PARAMETERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric", "chance", "epochs"),
    [
        ("tabular_mlp", "test_accuracy", 0.7, 5),
        ("mnist_cnn", "test_accuracy", 0.5, 3),
        ("lstm", "test_accuracy", 0.4, 4),
        ("forward_forward", "test_accuracy", 0.4, 6),
        ("siamese", "test_accuracy", 0.75, 2),
        ("token_mlp", "test_accuracy", 0.6, 5),
        ("resnet20", "test_accuracy", 0.6, 4),
    ],
)
def test_a_workload_learns(name, metric, chance, epochs, tmp_path):
    assert train(name, tmp_path, values={"epochs": epochs}).returncode == 0
    assert events(tmp_path)[-1]["metrics"][metric] > chance


def test_a_stopped_training_saves_its_state_and_goes_on_to_the_same_end(tmp_path):
    values = SMALL | {"epochs": 4, "max_samples": 0}
    whole = train("mnist_cnn", tmp_path / "whole", values=values)
    assert whole.returncode == 0
    out = tmp_path / "cut"
    resumable = ["--checkpoint-every", "1", "--resume"]
    command = command_of("mnist_cnn", out, *resumable, values=values)
    process = subprocess.Popen(
        [sys.executable, "-m", "millrace.training.trainer.worker", *command], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    for line in process.stdout:
        if '"epoch", ' in line and '"n": 2' in line:
            process.send_signal(signal.SIGTERM)
            break
    process.stdout.close()
    assert process.wait(60) == 143
    assert events(out)[-1]["event"] == "stopped"
    assert train("mnist_cnn", out, *resumable, values=values).returncode == 0
    assert [event["n"] for event in events(out) if event["event"] == "epoch"] == [1, 2, 3, 4]
    (how,) = [event for event in events(out) if event["event"] == "resumed"]
    assert how["reader"].endswith(".ParallelFileSystemReader")
    assert how["payload_bytes"] > 0
    assert how["stock_items"] == 0
    last = [[event for event in events(place) if event["event"] == "epoch"][-1] for place in (tmp_path / "whole", out)]
    assert last[0]["loss"] == pytest.approx(last[1]["loss"], rel=1e-4)


def test_a_training_does_not_go_on_from_a_damaged_checkpoint_and_names_the_tensor(tmp_path):
    first = ["--checkpoint-every", "1"]
    values = {"epochs": 1, "seed": 7}
    assert train("tabular_mlp", tmp_path, *first, values=values).returncode == 0
    (file,) = (tmp_path / "checkpoint").glob("*.distcp")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = train("tabular_mlp", tmp_path, *first, "--resume", values=values | {"epochs": 2})
    assert done.returncode == 1
    said = events(tmp_path)[-1]
    assert (said["event"], said["kind"]) == ("error", "input")
    assert file.name in said["message"]
    # Torch's own reader can be asked for instead; it looks at no sums.
    assert train("tabular_mlp", tmp_path / "new", *first, values=values).returncode == 0
    stock = ["--resume", "--storage-reader", "torch.distributed.checkpoint.FileSystemReader"]
    assert train("tabular_mlp", tmp_path / "new", *first, *stock, values=values | {"epochs": 2}).returncode == 0


def test_two_ranks_cover_every_sample_exactly_once():
    from millrace.training.trainer.job import Job

    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(1, 1)
    job = Job(model, torch.optim.SGD(model.parameters()), (torch.arange(101),), 8, loss=None, evaluate=None, seed=3)
    for epoch in (1, 2):
        seen = [int(value) for rank in range(2) for (batch,) in job.batches(epoch, rank, 2) for value in batch]
        assert len(seen) == len(set(seen)) == 100


@pytest.mark.slow
def test_two_ranks_under_torchrun_train_one_model(tmp_path):
    config = TrainingConfig()
    job = TrainingJob(workload="resnet20", processes=2, checkpoint_every=1, resources=Resources(threads=1))
    program = load_program("resnet20", config)
    command = build_command(program, job, {"epochs": 1, "max_samples": 128}, tmp_path)
    env = environment_for(job, program)
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "resolve" not in done.stderr  # nobody asked what the address of this host's name is
    said = events(tmp_path)
    assert [event["event"] for event in said if event["event"] != "progress"] == ["start", "ready", "epoch", "end"]
    assert said[0]["ranks"] == 2
    assert next(event for event in said if event["event"] == "epoch")["samples"] == 128
    assert (tmp_path / "checkpoint" / ".metadata").exists()
    again = build_command(program, job, {"epochs": 2, "max_samples": 128}, tmp_path)
    done = subprocess.run(again, capture_output=True, text=True, cwd=ROOT, check=False, env=env)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [event["n"] for event in events(tmp_path) if event["event"] == "epoch"] == [1, 2]
    (how,) = [event for event in events(tmp_path) if event["event"] == "resumed"]
    assert how["reader"].endswith(".ParallelFileSystemReader")


def test_gloo_gets_the_loopback_interface_unless_the_user_named_one(tmp_path, monkeypatch):
    for name, flags in (("eth0", "0x1003"), ("dummy", "0x8"), ("lo7", "0x9")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "flags").write_text(f"{flags}\n")
    assert loopback_interface(tmp_path) == "lo7"  # the one that is up
    assert loopback_interface(tmp_path / "nowhere") is None
    job, program = TrainingJob(processes=2), load_program("tabular_mlp", TrainingConfig())
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    assert environment_for(job, program)["GLOO_SOCKET_IFNAME"] == "eth0"
    monkeypatch.delenv("GLOO_SOCKET_IFNAME")
    assert "GLOO_SOCKET_IFNAME" not in environment_for(TrainingJob(), program)


def test_repeating_trains_again_without_a_gap_until_stopped(tmp_path):
    command = ["tabular_mlp", "--epochs", "1", "--out", str(tmp_path), "--threads", "1", "--repeat"]
    process = subprocess.Popen(
        [sys.executable, "-m", "millrace.training.trainer.worker", *command], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    ends = 0
    for line in process.stdout:
        ends += '"end"' in line
        if ends == 3:
            process.send_signal(signal.SIGTERM)
            break
    process.stdout.close()
    assert process.wait(60) != 0
    assert [event["iteration"] for event in events(tmp_path) if event["event"] == "end"][:3] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments_", "code", "message"),
    [
        (["resnet200"], 2, "did you mean 'resnet20'"),
        (["lstm", "--momentum", "3"], 2, "unrecognized"),
        (["lstm", "--epochs", "many"], 2, "invalid"),
    ],
)
def test_a_wrong_argument_ends_the_program_before_it_trains(arguments_, code, message, tmp_path):
    done = train_apart(*arguments_, "--out", str(tmp_path))
    assert done.returncode == code
    assert message in done.stderr


def test_a_gpu_that_is_not_there_is_an_input_error_in_the_events(tmp_path):
    done = train_apart("tabular_mlp", "--out", str(tmp_path), "--device", "cuda", env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 1
    assert events(tmp_path)[-1]["kind"] == "input"
    assert "no GPU" in events(tmp_path)[-1]["message"]


def test_a_loss_that_is_not_finite_is_a_diverged_training(tmp_path):
    done = train("mnist_cnn", tmp_path, values=SMALL | {"lr": 1e30})
    assert done.returncode == 1
    assert events(tmp_path)[-1]["kind"] == "diverged"


def test_cifar10_is_read_from_its_binary_folder_and_from_its_python_folder(tmp_path):
    import pickle

    import numpy as np

    from millrace.training.nets.data import cifar10

    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        table = generator.integers(0, 10, (4, 1), dtype=np.uint8)
        pixels = generator.integers(0, 256, (4, 3072), dtype=np.uint8)
        for folder in ("bin", "py"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "bin" / f"{name}.bin").write_bytes(np.column_stack([table, pixels]).tobytes())
        content = {b"labels": table[:, 0].tolist(), b"data": pixels}
        (tmp_path / "py" / name).write_bytes(pickle.dumps(content, protocol=2))
    binary, pickled = cifar10(tmp_path / "bin"), cifar10(tmp_path / "py")
    assert binary[0].shape == (20, 3, 32, 32)
    assert all(bool((a == b).all()) for a, b in zip(binary, pickled, strict=True))


def test_a_cifar10_file_that_would_run_code_is_refused(tmp_path):
    import pickle

    from millrace.errors import InputError
    from millrace.training.nets.data import cifar10

    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"labels": Evil()}))
    with pytest.raises(InputError, match="mkdir"):
        cifar10(tmp_path)
    assert not (tmp_path / "run").exists()
