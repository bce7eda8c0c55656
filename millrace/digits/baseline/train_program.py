"""Train the embedded baseline: `python -m millrace.digits.baseline.train_program [--config FILE.json | --settings JSON]`.

Prints its progress as JSON lines, `{"done": 12, "total": 100, "stage": "drawing scenes", …}`; the last one names the folder.
Does nothing when the cache has the model already. Exit codes: 0 there is a model, 2 bad settings, 1 anything else.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import orjson

from millrace.config import load_config, parse_config
from millrace.digits.baseline.cache import LIBRARIES, find_trained, keep_trained
from millrace.digits.baseline.embedded import BaselineSettings
from millrace.digits.baseline.lessons import Study, learnable, studies
from millrace.digits.baseline.trained_folder import SCHEMA, Card, new_model, save_trained
from millrace.digits.claim_vocabulary import ANSWERS
from millrace.errors import MillraceError, UsageError
from millrace.probing.claims import load_claims

if TYPE_CHECKING:
    from millrace.digits.baseline.curriculum import Schedule

OnProgress = Callable[[Mapping[str, Any]], None]

LESSONS_PER_CLAIM = 2
"""Subjects that each claim is asked about in every scene."""
ABSENT_SHARE = 0.2
"""Share of lessons about what is not there: a little more than in probing, for abstaining is hard to learn."""
EXAM_SCENES = 200
"""Scenes of held-out digits, as narrow as the lessons', that tell how well it learned what it was taught."""
CHUNK = 100
"""Scenes drawn at a time."""
COSTS = {"drawing scenes": 0.2, "learning to see": 0.36, "learning to answer": 0.42, "examination": 0.02}
"""Share of the time that each stage takes, for the progress."""


def ensure_trained(settings: BaselineSettings, on_progress: OnProgress | None = None, cache: Path | None = None) -> Path:
    """The folder of the trained baseline; trains it now if it is not in the cache.

    Args:
        settings: what to train.
        on_progress: called with `{"done", "total", "stage"}`.
        cache: None means the shared cache folder.
    """
    progress = Progress(on_progress or (lambda _: None))
    return find_trained(settings, cache) or keep_trained(settings, lambda folder: train(settings, folder, progress), cache)


class Progress:
    """Turns the stages' own counts into one number out of 100."""

    def __init__(self, tell: OnProgress) -> None:
        self._tell = tell
        self._told = -1
        self.seconds: dict[str, float] = {}
        self._started = time.monotonic()

    def stage(self, name: str, total: int) -> Callable[..., None]:
        """Begin a stage of `total` steps; call the result after each."""
        before = sum(share for other, share in COSTS.items() if list(COSTS).index(other) < list(COSTS).index(name))
        started, done = time.monotonic(), 0

        def step(loss: float | None = None, *, by: int = 1) -> None:
            nonlocal done
            done += by
            self.seconds[name] = round(time.monotonic() - started, 2)
            percent = int(100 * (before + COSTS[name] * done / total))
            if percent > self._told:
                self._told = percent
                extra = {} if loss is None else {"loss": round(loss, 3)}
                elapsed = round(time.monotonic() - self._started, 1)
                self._tell({"done": percent, "total": 100, "stage": name, "seconds": elapsed, **extra})

        return step


def train(settings: BaselineSettings, folder: Path, progress: Progress) -> None:
    """Draw the scenes, train, examine, and write the model into `folder`."""
    import torch

    from millrace.digits.baseline.curriculum import examine, train_encoder, train_reader
    from millrace.digits.baseline.lesson_book import word_list, write_book
    from millrace.digits.baseline.model import ModelSize

    torch.set_num_threads(1)  # each part of a step has a thread of its own, see training
    torch.manual_seed(settings.seed)
    exam_scenes = min(EXAM_SCENES, settings.scenes)
    step = progress.stage("drawing scenes", settings.scenes + exam_scenes)
    lessons = draw_studies(settings, settings.scenes, "train", step)
    exam = draw_studies(settings, exam_scenes, "heldout", step)
    words = word_list(lessons)
    size = ModelSize(words=len(words) + 1, answers=len(ANSWERS))
    model = new_model(size, words)
    book = write_book(lessons, words, length=size.max_words, grid=size.grid)
    schedule = schedule_of(settings)
    step = progress.stage("learning to see", schedule.encoder_steps(settings.scenes))
    train_encoder(model, book, schedule, seed=settings.seed, on_step=step)
    step = progress.stage("learning to answer", schedule.reader_steps)
    numbers = {word: place for place, word in enumerate(words, start=1)}
    train_reader(model, book, numbers, schedule, seed=settings.seed, on_step=step)
    results = examine(model, write_book(exam, words, length=size.max_words, grid=size.grid))
    progress.stage("examination", 1)()
    card = Card(
        schema=SCHEMA,
        settings=settings.model_dump(mode="json", exclude={"checkpoint", "storage_reader"}),
        size={name: getattr(size, name) for name in size.__struct_fields__},
        words=words,
        weights="",
        exam=results,
        seconds=progress.seconds,
        versions={name: version(name) for name in LIBRARIES},
        files={},
    )
    save_trained(folder, model, card)


def schedule_of(settings: BaselineSettings) -> Schedule:
    """The settings' part of the schedule."""
    from millrace.digits.baseline.curriculum import Schedule

    return Schedule(epochs=settings.epochs, reader_steps=settings.reader_steps, parts=settings.threads)


def draw_studies(settings: BaselineSettings, scenes: int, pool: str, step: Callable[..., None]) -> list[Study]:
    """Scenes with lessons, drawn by `settings.threads` processes; the same for any number of them."""
    chunks = [range(start, min(start + CHUNK, scenes)) for start in range(0, scenes, CHUNK)]
    drawn: list[Study] = []
    for chunk in _mapped([(settings.claims, chunk, settings.seed, pool) for chunk in chunks], settings.threads):
        drawn += chunk
        step(by=len(chunk))
    return drawn


def _mapped(jobs: list[tuple[str, range, int, str]], processes: int) -> Iterator[list[Study]]:
    processes = min(processes, len(jobs))
    if processes < 2:
        yield from map(_draw_chunk, jobs)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_parent) as pool:
        yield from pool.map(_draw_chunk, jobs)


def _draw_chunk(job: tuple[str, range, int, str]) -> list[Study]:
    claims, indices, seed, pool = job
    asked = learnable(load_claims(claims).claims)
    return list(studies(asked, indices, seed=seed, side=96, per_claim=LESSONS_PER_CLAIM, absent_share=ABSENT_SHARE, pool=pool))


def _end_with_parent() -> None:
    """In a drawing process: leave when the training is gone, even killed; the pool's own pipes would not tell."""

    def watch() -> None:
        parent = parent_process()
        assert parent is not None
        connection.wait([parent.sentinel])
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def main() -> int:
    """Read the settings, train if need be, print the folder; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train the embedded baseline unless the cache has it.")
    given = parser.add_mutually_exclusive_group()
    given.add_argument("--config", type=Path, help="a JSON or YAML file of settings")
    given.add_argument("--settings", help="the settings as JSON")
    arguments = parser.parse_args()
    try:
        settings = _settings(arguments.config, arguments.settings)
        folder = ensure_trained(settings, _print)
    except MillraceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the program's message
        return error.exit_code
    _print({"done": 100, "total": 100, "stage": "done", "checkpoint": str(folder)})
    return 0


def _settings(config: Path | None, text: str | None) -> BaselineSettings:
    if text is None:
        return load_config(BaselineSettings, config)
    try:
        return parse_config(BaselineSettings, orjson.loads(text), where="--settings")
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--settings is not JSON: {error}") from error


def _print(event: Mapping[str, Any]) -> None:
    sys.stdout.buffer.write(orjson.dumps(event) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
