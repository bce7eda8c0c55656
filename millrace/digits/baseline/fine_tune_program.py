"""What torchrun runs to train the embedded baseline on: `torchrun … -m millrace.digits.baseline.fine_tune_program SPEC.json`.

Reads the base through the checkpoint reader that its settings name, trains all its weights on the answers of the records (batch
norm as it is: AdamW, one cycle), and leaves a trained folder at the job's `result` by one rename. Where asked for, it holds the
answers that the base gets right, and goes a part of the way back to the base's weights (Wortsman et al., Robust fine-tuning of
zero-shot models, CVPR 2022). The same spec gives the same weights on the same machine. Prints `{"done", "total"}` lines. Exit
codes: 0 there is a model, otherwise the error's own.
"""

from __future__ import annotations

import copy
import shutil
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import orjson
from PIL import Image

from millrace.digits.baseline.cache import LIBRARIES, trained_folder
from millrace.digits.baseline.embedded import BaselineSettings
from millrace.digits.baseline.inputs import number_words, open_text, shrink
from millrace.digits.baseline.trained_folder import Card, load_trained, save_trained
from millrace.digits.claim_vocabulary import ANSWERS, SLOT_KINDS, answer_index, question_words
from millrace.errors import InputError, MillraceError
from millrace.improve.steps import images_of_steps
from millrace.records.improve import FineTuning, TrainingJob, TrainingRecord
from millrace.run.journal import read_record, read_records

if TYPE_CHECKING:
    from torch import Tensor

    from millrace.digits.baseline.model import SceneModel

ABSTAIN = len(ANSWERS) - 1


class Book(NamedTuple):
    """A training set as tensors. S images, Q questions (one for each open slot), H, W pixels, T words, A answers."""

    pixels_SHWC: Tensor
    image_Q: Tensor
    words_QT: Tensor
    accepted_QA: Tensor
    weight_Q: Tensor
    """A record counts the same however many slots it has."""


def main() -> int:
    """Train; returns the exit code."""
    try:
        train(Path(sys.argv[1]))
    except MillraceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the program's message
        return error.exit_code
    return 0


def train(spec_path: Path) -> None:
    """Read the spec, train, save."""
    import torch

    started = time.monotonic()
    spec = read_record(spec_path, FineTuning)
    job = spec.job
    settings = BaselineSettings.model_validate(job.base)
    torch.set_num_threads(1)
    torch.manual_seed(job.seed % 2**63)
    model, card = load_trained(trained_folder(settings), storage_reader=settings.storage_reader)
    records = list(read_records(Path(job.dataset), TrainingRecord))
    book = write_book(records, Path(job.images), card.words, side=model.size.side, length=model.size.max_words)
    fine_tune(model, book, job, Cycle(spec.rate, spec.weight_decay, spec.hold, spec.blend))
    part = Path(f"{job.result}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_trained(part, model, _card(card, settings, job, time.monotonic() - started))
    shutil.rmtree(job.result, ignore_errors=True)
    part.rename(job.result)


def _card(base: Card, settings: BaselineSettings, job: TrainingJob, seconds: float) -> Card:
    """The trained model's card: no examination, for that is what the run itself is."""
    kept = settings.model_dump(mode="json", exclude={"checkpoint", "storage_reader"})
    return msgspec.structs.replace(
        base,
        settings={**kept, "improved": {"arm": job.arm, "number": job.number, "base": base.weights}},
        exam={},
        seconds={"fine tuning": round(seconds, 2)},
        versions={name: version(name) for name in LIBRARIES},
        files={},
    )


def write_book(records: Sequence[TrainingRecord], images: Path, words: Sequence[str], *, side: int, length: int) -> Book:
    """Put the records into tensors; each image once.

    Raises:
        InputError: a record has no answer that the model could learn to give.
    """
    import torch

    numbers = {word: place for place, word in enumerate(words, start=1)}
    places = {image: place for place, image in enumerate(dict.fromkeys(record.image for record in records))}
    image_of, asked, accepted, weights = [], [], [], []
    for record in records:
        for slot in record.slots:
            row = np.zeros(len(ANSWERS), dtype=bool)
            row[list(right_answers(record, slot))] = True
            image_of.append(places[record.image])
            asked.append(number_words(question_words(open_text(record.claim, record.slots, slot)), numbers, length))
            accepted.append(row)
            weights.append(1 / len(record.slots))
    pixels = np.stack([np.asarray(shrink(Image.open(images / image), side)) for image in places])
    return Book(
        torch.from_numpy(pixels),
        torch.tensor(image_of),
        torch.tensor(asked),
        torch.from_numpy(np.stack(accepted)),
        torch.tensor(weights),
    )


def right_answers(record: TrainingRecord, slot: str) -> tuple[int, ...]:
    """Places in `ANSWERS` of what is right for one slot: of a share the step nearest to it, for the accepted ones are the ends of
    what a judge lets pass."""
    if not record.answerable:
        return (ABSTAIN,)
    kind = SLOT_KINDS.get(slot, "")
    right = record.accepted.get(slot, ()) if kind != "percent" else (record.correct[slot],)
    found = [answer_index(kind, value) for value in right]
    places = tuple(place for place in found if place is not None)
    if not places:
        raise InputError(f"the record {record.id} has no answer for {slot} that the embedded baseline knows")
    return places


class Cycle(NamedTuple):
    """How weights are changed."""

    rate: float
    weight_decay: float
    hold: float
    blend: float


def fine_tune(model: SceneModel, book: Book, job: TrainingJob, cycle: Cycle) -> None:
    """`job.steps` steps, each of `job.images_per_step` images with all their questions."""
    import torch
    from torch.nn import functional
    from torch.optim.lr_scheduler import OneCycleLR

    model.eval()  # batch norm as it is: its statistics are the base's; nothing else in the network depends on the mode
    base = copy.deepcopy(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cycle.rate, weight_decay=cycle.weight_decay)
    rates = OneCycleLR(optimizer, cycle.rate, total_steps=max(job.steps, 10), pct_start=0.2)  # of 5 steps a fifth is none
    questions_of = [torch.nonzero(book.image_Q == place)[:, 0] for place in range(len(book.pixels_SHWC))]
    for step, chosen in enumerate(images_of_steps(len(book.pixels_SHWC), job)):
        rows = torch.cat([questions_of[place] for place in chosen])
        inside = torch.repeat_interleave(torch.arange(len(chosen)), torch.tensor([len(questions_of[i]) for i in chosen]))
        asked = book.pixels_SHWC[list(chosen)], inside, book.words_QT[rows]
        said_QA = functional.log_softmax(answers(model, *asked), -1)
        accepted_QA, weight_Q = book.accepted_QA[rows], book.weight_Q[rows] / book.weight_Q[rows].sum()
        loss = -(torch.logsumexp(said_QA.masked_fill(~accepted_QA, -1e4), -1) * weight_Q).sum()
        if cycle.hold:
            loss = loss + cycle.hold * (drift(base, asked, accepted_QA, said_QA) * weight_Q).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        rates.step()
        if (step + 1) % 20 == 0 or step + 1 == job.steps:
            _print({"done": step + 1, "total": job.steps, "loss": round(loss.item(), 4)})
    if cycle.blend < 1:
        with torch.no_grad():
            for weight, before in zip(model.parameters(), base.parameters(), strict=True):
                weight.copy_(before.lerp(weight, cycle.blend))


def drift(base: SceneModel, asked: tuple[Tensor, Tensor, Tensor], accepted_QA: Tensor, said_QA: Tensor) -> Tensor:
    """(Q): how far the answers have moved from the base's (Kullback-Leibler), 0 where the base is wrong."""
    import torch
    from torch.nn import functional

    with torch.no_grad():
        before_QA = functional.log_softmax(answers(base, *asked), -1)
    right_Q = accepted_QA.gather(1, before_QA.argmax(1)[:, None])[:, 0]
    moved: Tensor = (before_QA.exp() * (before_QA - said_QA)).sum(1) * right_Q
    return moved


def answers(model: SceneModel, pixels_BHWC: Tensor, image_Q: Tensor, words_QT: Tensor) -> Tensor:
    """Logits (Q, A) of questions about pictures of one batch."""
    from millrace.digits.baseline.model import propose_objects

    words_QT = words_QT[:, : max(1, int((words_QT != 0).sum(1).max()))]
    objects_BOF = propose_objects(model.encoder(pixels_BHWC))
    logits: Tensor = model.reader(objects_BOF[image_Q], words_QT)
    return logits


def _print(event: dict[str, int | float]) -> None:
    sys.stdout.buffer.write(orjson.dumps(event) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
