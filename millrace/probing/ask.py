"""Asking the model under test the finished questions: how hard they are is measured, not assumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace.errors import ItemFailed, RunFailed, ShortOfTarget
from millrace.lake.images import decode_image
from millrace.lake.reader import read_row
from millrace.lake.rows import LakeRow
from millrace.llm.run_chats import chats_of_run
from millrace.llm.settings import chats_in, runs_here
from millrace.probing.baselines import Baseline, Question, baseline_settings, open_baseline
from millrace.probing.device import device_of
from millrace.records.question import AskedQuestion, Item
from millrace.run.journal import read_records, write_jsonl
from millrace.threads import in_order

if TYPE_CHECKING:
    from PIL import Image


def needs_gpu(baseline: Mapping[str, Any], device: str) -> bool:
    """Whether asking computes on a GPU where there is one: the model is in the worker, not behind an endpoint."""
    settings = baseline_settings(baseline)
    return device != "cpu" and (runs_here(settings) or not chats_in(settings))


def ask_shard(questions: Path, out: Path, lake: Path, baseline: Mapping[str, Any], device: str = "cpu") -> int:
    """Write the baseline's answer to every question of a shard, `{"id", "answers": [answer]}` each; returns how many.

    A question that could not be asked has no answer, `"answers": []`, and says why in `error`: that is not the model's failure.
    A shard that is already there is left alone.

    Args:
        questions: items with `id`, `question`, `options`, `question_type` and `image` (an image reference).
        out: the file to write.
        lake: the folder of images.
        baseline: the config's part: the plug-in's name and its settings.
        device: where the model runs: `cpu`, or whatever GPU there is.
    """
    items = list(read_records(questions, Item))
    if not out.exists():
        with chats_of_run(out):
            model = open_baseline(baseline_settings(baseline), device=device_of(device)) if items else None
            if model is not None and any(chat.mode == "batch" for chat in chats_in(baseline_settings(baseline))):
                model.ask_ahead(_asked(items, lake), lambda: None)
            write_jsonl(out, _answers(items, lake, model))
    return len(items)


def _asked(items: Iterable[Item], lake: Path) -> Iterator[tuple[Image.Image, list[Question]]]:
    """Each question with its image, as far as that can be read."""
    for item in items:
        try:
            image = decode_image(read_row(lake, item.image).image_bytes)
        except ItemFailed:
            continue
        yield image, [_question(item)]


def _question(item: Item) -> Question:
    return Question(item.question, dict(item.options), item.question_type)


def _answers(items: Iterable[Item], lake: Path, baseline: Baseline | None) -> Iterator[AskedQuestion]:
    """Questions about one image are asked together, and the lake is read in its own order."""

    def place(item: Item) -> tuple[str, int]:
        return item.image.file, item.image.row

    groups = [list(group) for _, group in groupby(sorted(items, key=place), key=place)]
    width = 1 if baseline is None else baseline.concurrency
    answered = in_order(lambda about_one: list(_answers_about(about_one, lake, baseline)), groups, width=width, name="ask")
    yield from chain.from_iterable(answered)


def _answers_about(about_one: list[Item], lake: Path, baseline: Baseline | None) -> Iterator[AskedQuestion]:
    try:
        assert baseline is not None
        row = read_row(lake, about_one[0].image)
        answers = _ask(baseline, row, about_one)
    except (RunFailed, ShortOfTarget):  # no endpoint answers, or the budget is spent: not these items' failure
        raise
    except Exception as error:  # noqa: BLE001 - an item's failure becomes a record
        message = f"{type(error).__name__}: {error}"[:500]
        yield from (AskedQuestion(id=item.id, answers=(), error=message) for item in about_one)
        return
    yield from (AskedQuestion(id=item.id, answers=(answer,)) for item, answer in zip(about_one, answers, strict=True))


def _ask(baseline: Baseline, row: LakeRow, items: list[Item]) -> list[str]:
    return baseline.answer(decode_image(row.image_bytes), [_question(item) for item in items])
