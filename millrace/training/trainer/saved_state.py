"""A training's state on disk: a torch.distributed.checkpoint folder, replaced whole or not at all, and taken up again."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from msgspec import structs
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from millrace.errors import InputError
from millrace.records.record import decode
from millrace.records.training.events import CheckpointRead, TrainingProgress
from millrace.training.trainer.job import Job

STORAGE_READER = "millrace.checkpoint.reader.ParallelFileSystemReader"
"""What a checkpoint is loaded with, by its dotted path: domains do not import each other."""


class SavedState:
    """The checkpoint of one training in `folder`: model, optimizer, schedule, each rank's random state, progress.

    Covers: a crash at any moment of saving (the checkpoint before it is still there), a damaged file (it is found before
    anything is overwritten). Does not cover: going on with another number of ranks.
    """

    def __init__(self, folder: Path, *, rank: int, world: int, reader: str | None = None) -> None:
        self.folder, self.rank, self.world = folder, rank, world
        self.reader = reader or STORAGE_READER

    def save(self, job: Job, done: TrainingProgress) -> None:
        """Replace the checkpoint. `done` says how far the training is."""
        target = self.folder / "checkpoint"
        fresh, old = target.with_name("checkpoint.new"), target.with_name("checkpoint.old")
        if self.rank == 0:
            shutil.rmtree(fresh, ignore_errors=True)
        if self.world > 1:
            torch.distributed.barrier()
        save(self._state(job, done), checkpoint_id=fresh, no_dist=self.world == 1)
        if self.rank == 0:
            shutil.rmtree(old, ignore_errors=True)
            if target.exists():
                target.rename(old)
            fresh.rename(target)
            shutil.rmtree(old, ignore_errors=True)

    def load(self, job: Job, done: TrainingProgress) -> tuple[TrainingProgress, CheckpointRead] | None:
        """Put the newest whole checkpoint into `job`; what it says of the progress, and how it was read. None: there is none.

        Raises:
            InputError: it is damaged, or of another training.
        """
        found = [self.folder / name for name in ("checkpoint", "checkpoint.old")]
        source = next((path for path in found if (path / ".metadata").exists()), None)
        if source is None:
            return None
        state = self._state(job, done)
        reader = self._open(source)
        try:
            load(state, storage_reader=reader, no_dist=self.world == 1)
        except CheckpointException as error:
            cause = next(iter(error.failures.values()))[0]
            raise InputError(f"cannot go on from {source}: {cause}; remove it to begin anew") from error
        set_state_dict(job.model, job.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        if job.schedule is not None:
            job.schedule.load_state_dict(json.loads(state["progress"]["schedule"]))
        torch.set_rng_state(state[f"random_{self.rank}"])
        progress = decode(state["progress"]["done"].encode(), TrainingProgress, f"the progress in {source}")
        return progress, CheckpointRead(checkpoint=source.name, reader=self.reader, **_figures(reader))

    def _open(self, source: Path) -> Any:
        module, _, name = self.reader.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        return kind(source, verify="crc") if self.reader == STORAGE_READER else kind(source)

    def _state(self, job: Job, done: TrainingProgress) -> dict[str, Any]:
        model, optimizer = get_state_dict(job.model, job.optimizer)
        schedule = job.schedule.state_dict() if job.schedule is not None else {}
        progress = {"done": json.dumps(structs.asdict(done)), "schedule": json.dumps(schedule)}
        return {"model": model, "optimizer": optimizer, "progress": progress, f"random_{self.rank}": torch.get_rng_state()}


def _figures(reader: Any) -> dict[str, Any]:
    """What a parallel reader measured of its load; nothing from other readers."""
    metrics = getattr(reader, "metrics", None)
    names = ("payload_bytes", "seconds", "threads", "items", "stock_items")
    return {name: getattr(metrics, name) for name in names} if metrics is not None else {}
