"""Lessons as tensors, and the list of words that a model reads.

Shapes: S scenes, L lessons, H and W pixels, G cells, T words, A answers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from millrace.digits.baseline.inputs import number_words
from millrace.digits.baseline.lessons import Lesson, Study
from millrace.digits.claim_vocabulary import ANSWERS, GAP, PHRASES, words_of
from millrace.digits.scenes.scene import COLOURS, Scene

TARGETS = 8
"""Of a cell: presence, label, colour, turn, log width, log height, x and y of the centre in the cell."""

MEANINGFUL = frozenset(
    [
        *(str(label) for label in range(10)),
        *COLOURS,
        *(
            word
            for spellings in PHRASES.values()
            for values in spellings.values()
            for value in values
            for word in words_of(value)
        ),
        *(GAP, "largest", "smallest", "many", "percent", "among", "which", "where", "not", "turned", "share", "quarter", "there"),
    ]
)
"""Words that a lesson is never without; others are left out now and then, so that a model does not need them."""


class LessonBook(NamedTuple):
    """Many studies side by side."""

    pixels: Tensor
    """(S, H, W, 3) bytes."""
    cells: Tensor
    """(S, G, 8): what is right for every cell, see `TARGETS`; presence is 1 in the cell that holds a digit's centre."""
    scene: Tensor
    """(L): the scene that a lesson is about."""
    words: Tensor
    """(L, T) word numbers, 0 at the end."""
    accepted: Tensor
    """(L, A): which answers are right."""
    claims: tuple[str, ...]
    """By lesson."""


def word_list(studies: Iterable[Study]) -> list[str]:
    """Every word of the lessons and of the answers, sorted; a word's number is its place plus one."""
    found = {word for study in studies for lesson in study.lessons for word in lesson.words}
    found.update(word for _, value in ANSWERS[:-1] for word in words_of(value))
    found.update(MEANINGFUL)
    return sorted(found)


def write_book(studies: Sequence[Study], words: Sequence[str], *, length: int, grid: int) -> LessonBook:
    """Put studies into tensors. `length` words per lesson at most, `grid` cells on a side."""
    numbers = {word: place for place, word in enumerate(words, start=1)}
    lessons: list[Lesson] = [lesson for study in studies for lesson in study.lessons]
    accepted = np.zeros((len(lessons), len(ANSWERS)), dtype=bool)
    for row, lesson in enumerate(lessons):
        accepted[row, list(lesson.accepted)] = True
    return LessonBook(
        pixels=torch.from_numpy(np.stack([study.pixels for study in studies])),
        cells=torch.from_numpy(np.stack([cell_targets(study.scene, grid) for study in studies])),
        scene=torch.tensor([place for place, study in enumerate(studies) for _ in study.lessons]),
        words=torch.tensor([number_words(lesson.words, numbers, length) for lesson in lessons]),
        accepted=torch.from_numpy(accepted),
        claims=tuple(lesson.claim_id for lesson in lessons),
    )


def cell_targets(scene: Scene, grid: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(grid * grid, `TARGETS`): what the encoder should say of every cell."""
    targets = np.zeros((grid * grid, TARGETS), dtype=np.float32)
    colours = list(COLOURS)
    for digit in scene.digits:
        x0, y0, x1, y1 = digit.box
        x, y = (x0 + x1) / 2 / scene.width * grid, (y0 + y1) / 2 / scene.height * grid
        column, row = min(int(x), grid - 1), min(int(y), grid - 1)
        wide, high = math.log(4 * (x1 - x0) / scene.width), math.log(4 * (y1 - y0) / scene.height)
        targets[row * grid + column] = [
            1,
            digit.label,
            colours.index(digit.colour),
            digit.turn,
            wide,
            high,
            x - column,
            y - row,
        ]
    return targets
