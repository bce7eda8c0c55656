"""The training program, alone or under torchrun.

    python -m millrace.training.trainer.worker WORKLOAD --epochs 5 --lr 0.1 … --out DIR

Says what happens as JSON lines, in DIR/events.jsonl and on stdout: start (with the hyperparameters it really uses), ready,
progress, epoch, end; or stopped (SIGTERM: the batch is finished, the state saved, exit 143), or error with its kind.
Exit 0 means that every epoch was done. Checkpoints are torch.distributed.checkpoint folders, written whole or not at all.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs, to_builtins

from millrace.errors import InputError, UsageError
from millrace.plugins.loading import load_plugin
from millrace.records.training.events import TrainingProgress
from millrace.run import clock
from millrace.training.parameters import Parameter, Value
from millrace.training.workloads import JobPlan

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job
    from millrace.training.trainer.saved_state import SavedState

WORKLOADS = "millrace.training.workloads"
PROGRESS_EVERY_S = 0.5
EXIT_USAGE, EXIT_STOPPED = 2, 143


class Events:
    """Writes events; only rank 0 has any to write."""

    def __init__(self, folder: Path, *, silent: bool) -> None:
        self.file = None if silent else (folder / "events.jsonl").open("a", buffering=1)

    def say(self, event: str, **facts: Any) -> None:
        """Append one event; each line is handed to the kernel at once."""
        if self.file is None:
            return
        line = json.dumps({"event": event, "t": clock.now(), **facts}, allow_nan=False, default=str) + "\n"
        try:
            sys.stdout.write(line)
            sys.stdout.flush()
        except BrokenPipeError:  # the pipe has no reader any more; the file has the line, and the training goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            self.file.write(line)
        except OSError:  # a full disk: stdout has the line
            with contextlib.suppress(OSError):
                self.file.close()
            self.file = Path(os.devnull).open("w")  # noqa: SIM115 - as the file that it stands for

    def close(self) -> None:
        """No more events will come."""
        if self.file is not None:
            with contextlib.suppress(OSError):
                self.file.close()


class Stopped(Exception):
    """SIGTERM came and the batch at hand is done."""


class Training:
    """One process of a training: rank `rank` of `world`."""

    def __init__(self, options: argparse.Namespace, values: dict[str, Value], events: Events, rank: int, world: int) -> None:
        self.options, self.values, self.events, self.rank, self.world = options, values, events, rank, world
        self.asked_to_stop = False
        self.samples = 0
        self.said_at = 0.0
        self.done = TrainingProgress()
        signal.signal(signal.SIGTERM, self._remember)

    def _remember(self, *_: object) -> None:
        self.asked_to_stop = True

    def run(self, module: Any, iteration: int) -> dict[str, float]:
        """Train to the end; the last epoch's metrics.

        Raises:
            Stopped: SIGTERM came.
        """
        import torch

        options = self.options
        seed = int(self.values.get("seed", 0)) + iteration
        torch.manual_seed(seed)
        job: Job = module.build(JobPlan({**self.values, "seed": seed}, options.device, options.data))
        model: Any = job.model.train()
        if self.world > 1:
            from torch.nn.parallel import DistributedDataParallel

            model = DistributedDataParallel(job.model)
        self.done = TrainingProgress()
        saved = self._saved_state() if options.checkpoint_every or options.resume else None
        found = saved.load(job, self.done) if saved and options.resume and iteration == 0 else None
        if found is not None:
            self.done, how = found
            self.events.say("resumed", after_epoch=self.done.epoch, **to_builtins(how))
        first = self.done.epoch + 1
        epochs = int(self.values["epochs"])
        metrics: dict[str, float] = {}
        for epoch in range(first, epochs + 1):
            metrics = self._epoch(job, model, epoch, saved)
            last = epoch == epochs
            if saved and options.checkpoint_every and (epoch % options.checkpoint_every == 0 or last):
                saved.save(job, self.done)
        if first > epochs:
            metrics = job.measure()
        return metrics

    def _saved_state(self) -> SavedState:
        from millrace.training.trainer.saved_state import SavedState  # torch.distributed.checkpoint is slow to import

        return SavedState(self.options.out, rank=self.rank, world=self.world, reader=self.options.storage_reader)

    def _epoch(self, job: Job, model: Any, epoch: int, saved: SavedState | None) -> dict[str, float]:
        import torch

        if epoch == 1 or self.said_at == 0.0:
            self.events.say("ready")
            self.said_at = time.monotonic()
        started, cpu, before = clock.now(), time.process_time(), self.done.batches
        for number, batch in enumerate(job.batches(epoch, self.rank, self.world)):
            if number < before:
                continue  # done before the training was stopped
            done, size = self.done, len(batch[0])
            loss_sum = done.loss_sum + float(job.step(model, batch)) * size
            self.done = structs.replace(done, batches=done.batches + 1, loss_sum=loss_sum, seen=done.seen + size)
            self.samples += len(batch[0]) * self.world
            self._between_batches(job, epoch, saved)
        totals = torch.tensor([self.done.loss_sum, self.done.seen, time.process_time() - cpu], dtype=torch.float64)
        self.done = TrainingProgress(epoch=epoch)
        if self.world > 1:
            torch.distributed.all_reduce(totals)
        trained = clock.now()
        metrics = job.measure() if self.rank == 0 else {}
        if job.schedule is not None:
            job.schedule.step()
        loss_sum, count, cpu_s = totals.tolist()
        loss = loss_sum / max(count, 1)
        if not all(map(math.isfinite, [loss, *metrics.values()])):
            raise FloatingPointError(f"the loss of epoch {epoch} is not finite")
        if self.world > 1:
            torch.distributed.barrier()
        self.events.say(
            "epoch",
            n=epoch,
            started=started,
            wall_s=trained - started,
            cpu_s=cpu_s,
            samples=int(count),
            samples_total=self.samples,
            loss=loss,
            metrics=metrics,
        )
        return metrics

    def _between_batches(self, job: Job, epoch: int, saved: SavedState | None) -> None:
        stop = self.asked_to_stop
        if self.world > 1:
            import torch

            agreed = torch.tensor(float(stop))
            torch.distributed.all_reduce(agreed)
            stop = bool(agreed)
        if stop:
            if saved and self.options.checkpoint_every:
                saved.save(job, self.done)
            raise Stopped
        if time.monotonic() - self.said_at > PROGRESS_EVERY_S:
            self.said_at = time.monotonic()
            self.events.say("progress", epoch=epoch, samples_total=self.samples)


def parse(argv: list[str]) -> tuple[argparse.Namespace, dict[str, Value], Any]:
    """Options, hyperparameters, and the workload's module."""
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("workload")
    name = first.parse_known_args(argv)[0].workload
    module = load_plugin(WORKLOADS, name, "workload")
    parameters: dict[str, Parameter] = module.PARAMETERS
    parser = argparse.ArgumentParser(
        prog=f"python -m millrace.training.trainer.worker {name}", description=module.__doc__, allow_abbrev=False
    )
    parser.add_argument("workload")
    parser.add_argument("--out", type=Path, required=True, help="folder for events.jsonl and the checkpoint")
    parser.add_argument("--threads", type=int, help="CPU threads; default: the CPUs it may run on, shared by the ranks")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", type=Path, help="a folder with CIFAR-10")
    parser.add_argument(
        "--repeat", action="store_true", help="train again and again, with the next seed each time, until stopped"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out, if there is one")
    parser.add_argument("--storage-reader", help="dotted path of the reader that loads the checkpoint; default: this project's")
    parser.add_argument("--checkpoint-every", type=int, default=0, metavar="EPOCHS", help="0: no checkpoint")
    parser.add_argument("--gpu-memory-fraction", type=float)
    for key, parameter in parameters.items():
        flag = parameter.flag or f"--{key.replace('_', '-')}"
        parser.add_argument(flag, dest=f"value_{key}", type=parameter.convert, default=parameter.default)
    options = parser.parse_args(argv)
    return options, {key: getattr(options, f"value_{key}") for key in parameters}, module


def main(argv: list[str]) -> int:
    """Train, and say how it ended by the exit code."""
    try:
        options, values, module = parse(argv)
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    options.out.mkdir(parents=True, exist_ok=True)
    events = Events(options.out, silent=rank > 0)
    threads = options.threads or max(1, len(os.sched_getaffinity(0)) // world)
    events.say(
        "start",
        workload=options.workload,
        hyperparameters=values,
        pid=os.getpid(),
        ranks=world,
        threads=threads,
        device=options.device,
        resumed=options.resume,
        clock=vars(clock.ANCHOR),
    )
    try:
        return _train(options, values, module, events, (rank, world, threads))
    except Stopped:
        events.say("stopped", peak_rss_bytes=_peak_rss())
        return EXIT_STOPPED
    except (MemoryError, RuntimeError, InputError, FloatingPointError, ValueError, OSError) as error:
        events.say("error", kind=_kind(error), message=f"{type(error).__name__}: {error}"[:2000])
        if not isinstance(error, InputError):
            import traceback

            traceback.print_exc()
        return 1
    finally:
        events.close()


def _train(
    options: argparse.Namespace, values: dict[str, Value], module: Any, events: Events, place: tuple[int, int, int]
) -> int:
    import torch

    rank, world, threads = place
    torch.set_num_threads(threads)
    if options.device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise InputError(f"device {options.device} was asked for, but torch sees no GPU here; use device: cpu")
        if world > 1:
            options.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(options.device)
        if options.gpu_memory_fraction:
            torch.cuda.set_per_process_memory_fraction(options.gpu_memory_fraction)
    if world > 1:
        if not module.SCALES:
            raise InputError(f"{options.workload} trains in one process only; set processes: 1")
        torch.distributed.init_process_group("nccl" if options.device.startswith("cuda") else "gloo")
    training = Training(options, values, events, rank, world)
    iteration = 0
    while True:
        metrics = training.run(module, iteration)
        events.say(
            "end",
            ok=True,
            iteration=iteration,
            epochs_done=training.done.epoch,
            metrics=metrics,
            samples_total=training.samples,
            peak_rss_bytes=_peak_rss(),
        )
        iteration += 1
        if not options.repeat:
            break
    if world > 1:
        torch.distributed.destroy_process_group()
    return 0


def _kind(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "disk_full"
    text = str(error).lower()
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text or "cannot allocate" in text:
        return "out_of_memory"
    if isinstance(error, InputError):
        return "input"
    return "diverged" if isinstance(error, FloatingPointError) else "exception"


def _peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is on disk. Torch's own end takes half a second, on a busy machine several: a background that has stopped in time
    # would be killed for it.
    os._exit(code)
