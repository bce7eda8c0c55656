"""How the embedded baseline learns: first to see, then to answer.

The encoder learns from the annotation of each cell. Then it stays as it is, and the question reader learns on what it proposes,
mistakes included. Both are seeded and of fixed length: the same book gives the same weights on the same machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.lr_scheduler import OneCycleLR

from tasks.probing.lesson_book import MEANINGFUL, LessonBook
from tasks.probing.model import SceneModel, propose_objects
from tasks.probing.vocabulary import ANSWERS, PERCENTS, answer_index

OnStep = Callable[[float], None]
"""Told the loss after every step."""

WORD_DROPOUT = 0.1
"""Share of the words without meaning of their own that a lesson leaves out."""


class Schedule(msgspec.Struct, frozen=True):
    """How long and how fast. Found by trial on 2 cores: longer helps little, shorter costs several points."""

    epochs: float = 3.5
    """How often the encoder sees every scene."""
    scenes_per_step: int = 16
    encoder_rate: float = 3e-3
    reader_steps: int = 420
    lessons_per_step: int = 512
    reader_rate: float = 4e-3

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
    encoder.train()
    order = torch.zeros(0, dtype=torch.long)
    for step in range(steps):
        if step % per_epoch == 0:
            order = torch.randperm(scenes, generator=generator)
        chosen = order[step % per_epoch * schedule.scenes_per_step :][: schedule.scenes_per_step]
        loss = cell_loss(encoder(book.pixels[chosen]), book.cells[chosen])
        _descend(loss, encoder, optimizer, rate)
        on_step(loss.item())
    encoder.eval()


def train_reader(
    model: SceneModel, book: LessonBook, words: Mapping[str, int], schedule: Schedule, *, seed: int, on_step: OnStep
) -> None:
    """Teach the question reader on what the encoder, left as it is, proposes."""
    objects_SOF = see_all(model, book.pixels)
    droppable = torch.ones(model.size.words, dtype=torch.bool)
    droppable[[words[word] for word in MEANINGFUL if word in words]] = False
    generator = torch.Generator().manual_seed(seed)
    optimizer, rate = _optimizer(model.reader, schedule.reader_rate, schedule.reader_steps)
    model.reader.train()
    for _ in range(schedule.reader_steps):
        chosen = torch.randint(len(book.scene), (schedule.lessons_per_step,), generator=generator)
        words_QT = book.words[chosen]
        words_QT = words_QT[:, : int((words_QT != 0).sum(1).max())]
        dropped = (torch.rand(words_QT.shape, generator=generator) < WORD_DROPOUT) & droppable[words_QT]
        logits = model.reader(objects_SOF[book.scene[chosen]], words_QT.masked_fill(dropped, 0))
        loss = answer_loss(logits, book.accepted[chosen])
        _descend(loss, model.reader, optimizer, rate)
        on_step(loss.item())
    model.reader.eval()


def see_all(model: SceneModel, pixels_SHWC: Tensor, at_once: int = 50) -> Tensor:
    """Object tokens (S, O, F) of every picture, by the encoder as it is."""
    model.encoder.eval()
    with torch.inference_mode():
        parts = [propose_objects(model.encoder(part)) for part in torch.split(pixels_SHWC, at_once)]
    return torch.cat(parts).clone()


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


def _descend(loss: Tensor, module: nn.Module, optimizer: torch.optim.AdamW, rate: OneCycleLR) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(module.parameters(), 2.0)
    optimizer.step()
    rate.step()
