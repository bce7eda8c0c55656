"""How the embedded baseline learns: first to see, then to answer.

The encoder learns from the annotation of each cell. Then it stays as it is, and the question reader learns on what it proposes,
mistakes included. Both are seeded and of fixed length: the same book gives the same weights on the same machine.

A step is computed in parts, each by a thread of its own with one compute thread: they meet once per step. (The library's own
threads meet hundreds of times per step, and on a machine with other work each time waits for the slowest.)
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from millrace.digits.baseline.lesson_book import MEANINGFUL, LessonBook
from millrace.digits.baseline.model import ImageEncoder, SceneModel, propose_objects
from millrace.digits.claim_vocabulary import ANSWERS, PERCENTS, answer_index

OnStep = Callable[[float], None]
"""Told the loss after every step."""

WORD_DROPOUT = 0.1
"""Share of the words without meaning of their own that a lesson leaves out."""

EMPHASIS = {
    "spatial_relative_position": 2.0,
    "intra_class_single_instance_localization": 1.5,
    "orientation_facing_direction": 1.3,
    "presence": 0.5,
}
"""How often a claim comes up compared with others: the two that compare digits are learned last (found by trial)."""


class Schedule(msgspec.Struct, frozen=True):
    """How long and how fast. Found by trial: longer helps little, shorter costs several points."""

    epochs: float = 3.5
    """How often the encoder sees every scene."""
    scenes_per_step: int = 16
    encoder_rate: float = 3e-3
    reader_steps: int = 420
    lessons_per_step: int = 384
    reader_rate: float = 4e-3
    parts: int = 1
    """Parts of a step that are computed side by side, 1 or 2: two gradients add up to the same whichever comes first, three
    would not."""

    def encoder_steps(self, scenes: int) -> int:
        """Steps of the encoder for so many scenes."""
        return max(1, int(self.epochs * max(1, scenes // self.scenes_per_step)))


def train_encoder(model: SceneModel, book: LessonBook, schedule: Schedule, *, seed: int, on_step: OnStep) -> None:
    """Teach the encoder what is in every cell."""
    encoder, scenes = model.encoder, len(book.pixels)
    per_epoch = max(1, scenes // schedule.scenes_per_step)
    steps = schedule.encoder_steps(scenes)
    generator = torch.Generator().manual_seed(seed)
    optimizer, rate = _optimizer(encoder, schedule.encoder_rate, steps)
    replicas = _replicas(encoder, schedule.parts)
    order = torch.zeros(0, dtype=torch.long)
    with _threads(schedule.parts) as pool:
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(scenes, generator=generator)
            chosen = order[step % per_epoch * schedule.scenes_per_step :][: schedule.scenes_per_step]

            def loss_of(part: Tensor, replica: ImageEncoder) -> Tensor:
                return cell_loss(replica(book.pixels[part]), book.cells[part])

            parts = torch.chunk(chosen, schedule.parts)
            losses = [_later(loss_of, part, replica) for part, replica in zip(parts, replicas, strict=False)]
            on_step(_descend(losses, pool, encoder, optimizer, rate))
    _average_buffers(replicas)
    encoder.eval()


def train_reader(
    model: SceneModel, book: LessonBook, words: Mapping[str, int], schedule: Schedule, *, seed: int, on_step: OnStep
) -> None:
    """Teach the question reader on what the encoder, left as it is, proposes."""
    droppable = torch.ones(model.size.words, dtype=torch.bool)
    droppable[[words[word] for word in MEANINGFUL if word in words]] = False
    counts = Counter(book.claims)
    weight_L = torch.tensor([EMPHASIS.get(claim, 1.0) / counts[claim] for claim in book.claims])
    generator = torch.Generator().manual_seed(seed)
    optimizer, rate = _optimizer(model.reader, schedule.reader_rate, schedule.reader_steps)
    with _threads(schedule.parts) as pool:
        objects_SOF = see_all(model, book.pixels, pool)
        model.reader.train()

        def loss_of(part: Tensor, words_QT: Tensor) -> Tensor:
            logits = model.reader(objects_SOF[book.scene[part]], words_QT)
            return answer_loss(logits, book.accepted[part])

        for _ in range(schedule.reader_steps):
            chosen = torch.multinomial(weight_L, schedule.lessons_per_step, replacement=True, generator=generator)
            losses = []
            for part in torch.chunk(chosen, schedule.parts):
                words_QT = book.words[part]
                words_QT = words_QT[:, : int((words_QT != 0).sum(1).max())]
                dropped = (torch.rand(words_QT.shape, generator=generator) < WORD_DROPOUT) & droppable[words_QT]
                losses.append(_later(loss_of, part, words_QT.masked_fill(dropped, 0)))
            on_step(_descend(losses, pool, model.reader, optimizer, rate))
    model.reader.eval()


def see_all(model: SceneModel, pixels_SHWC: Tensor, pool: ThreadPoolExecutor | None = None) -> Tensor:
    """Object tokens (S, O, F) of every picture, by the encoder as it is."""
    model.encoder.eval()

    def see(part: Tensor) -> Tensor:
        with torch.inference_mode():
            return propose_objects(model.encoder(part))

    parts = torch.split(pixels_SHWC, 50)
    seen: Iterable[Tensor] = map(see, parts) if pool is None else pool.map(see, parts)
    return torch.cat(list(seen)).clone()


def cell_loss(said_BGP: Tensor, right_BGP: Tensor) -> Tensor:
    """How wrong the encoder is about cells: presence everywhere, the rest where a digit's centre is."""
    right_BG = right_BGP[..., 0]
    weight = torch.tensor(4.0)  # a cell in a hundred has something in it
    loss = 4 * functional.binary_cross_entropy_with_logits(said_BGP[..., 0], right_BG, pos_weight=weight)
    said, right = said_BGP[right_BG > 0], right_BGP[right_BG > 0]
    if not len(said):
        return loss
    _, label, colour, turn, size, offset = torch.split(said, [1, 10, 6, 4, 2, 2], dim=-1)
    return (
        loss
        + 2 * functional.cross_entropy(label, right[:, 1].long())
        + functional.cross_entropy(colour, right[:, 2].long())
        + 0.5 * functional.cross_entropy(turn, right[:, 3].long())
        + functional.smooth_l1_loss(size, right[:, 4:6])
        + 4 * functional.mse_loss(offset, right[:, 6:8])
    )


def answer_loss(logits_QA: Tensor, accepted_QA: Tensor) -> Tensor:
    """Minus the log of the probability that falls on right answers, however it is spread over them."""
    return -torch.logsumexp(functional.log_softmax(logits_QA, -1).masked_fill(~accepted_QA, -1e4), -1).mean()


def examine(model: SceneModel, book: LessonBook) -> dict[str, tuple[int, int]]:
    """By claim: lessons asked, and how many the model gets right. A percentage may be one step off."""
    objects_SOF = see_all(model, book.pixels)
    with torch.inference_mode():
        parts = zip(torch.split(book.scene, 500), torch.split(book.words, 500), strict=True)
        said = torch.cat([model.reader(objects_SOF[scene], words).argmax(-1) for scene, words in parts])
    first = answer_index("percent", PERCENTS[0])
    assert first is not None
    results: dict[str, tuple[int, int]] = {}
    for claim, place, accepted in zip(book.claims, said.tolist(), book.accepted, strict=True):
        near = [place - 1, place, place + 1] if ANSWERS[place][0] == "percent" else [place]
        right = any(bool(accepted[other]) and ANSWERS[other][0] == ANSWERS[place][0] for other in near)
        asked, good = results.get(claim, (0, 0))
        results[claim] = (asked + 1, good + right)
    return dict(sorted(results.items()))


def _optimizer(module: nn.Module, rate: float, steps: int) -> tuple[torch.optim.AdamW, OneCycleLR]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.02)
    return optimizer, OneCycleLR(optimizer, rate, total_steps=max(steps, 2), pct_start=0.2)


@contextmanager
def _threads(parts: int) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(parts, initializer=lambda: torch.set_num_threads(1)) as pool:
        yield pool


def _replicas(encoder: ImageEncoder, count: int) -> list[ImageEncoder]:
    """The encoder and copies that share its weights; the running statistics of the norms are each one's own."""
    encoder.train()
    shared = {id(parameter): parameter for parameter in encoder.parameters()}
    return [encoder, *(copy.deepcopy(encoder, dict(shared)) for _ in range(count - 1))]


def _average_buffers(replicas: Sequence[nn.Module]) -> None:
    """Give the first one the mean of all running statistics."""
    with torch.no_grad():
        for own, *others in zip(*(replica.buffers() for replica in replicas), strict=True):
            if own.is_floating_point():
                own.copy_(torch.stack([own, *others]).mean(0))


def _later(loss_of: Callable[..., Tensor], *arguments: object) -> Callable[[], Tensor]:
    return lambda: loss_of(*arguments)


def _descend(
    losses: Sequence[Callable[[], Tensor]],
    pool: ThreadPoolExecutor,
    module: nn.Module,
    optimizer: torch.optim.AdamW,
    rate: OneCycleLR,
) -> float:
    """One step down the mean of the losses, which are computed side by side; returns that mean."""
    optimizer.zero_grad()

    def backward(loss_of: Callable[[], Tensor]) -> float:
        loss = loss_of() / len(losses)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    total = sum(pool.map(backward, losses))
    nn.utils.clip_grad_norm_(module.parameters(), 2.0)
    optimizer.step()
    rate.step()
    return total
