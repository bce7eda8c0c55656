"""Where the digits of a scene go: what is written, how large, in which place, and what covers what."""

from __future__ import annotations

import math
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from millrace.digits.scenes.glyphs import EDGE, Glyph, draw_glyph
from millrace.digits.scenes.pools import pick_source
from millrace.digits.scenes.recipes import SceneRecipe
from millrace.digits.scenes.scene import SIZE_RANGES, SIZES, TURNABLE

MIN_VISIBLE = 0.58
"""No digit is covered more than this leaves: enough of its stroke that a person can still name it."""

MAX_VISIBLE_WHEN_COVERED = 0.90
"""A digit counts as covered when no more than this share of its ink shows."""

GAP, BORDER = 0.035, 0.03
"""Free space between digits and to the image's edge, as a share of its side: room for shadows, and for no doubt."""

STRIP_COLOURS = ((233, 221, 190), (214, 214, 209), (226, 206, 178), (205, 216, 222))
"""Masking tape and slips of paper: pale, and no colour that a digit can have."""

Mask = NDArray[np.float32]


class Piece(NamedTuple):
    """One digit, ready to be placed."""

    label: int
    colour: str
    size: str
    turn: int
    source: int
    glyph: Glyph
    x: int = 0
    """Left edge of its ink."""
    y: int = 0
    """Top edge of its ink."""

    @property
    def width(self) -> int:
        """Of its ink, in pixels."""
        return int(self.glyph.alpha.shape[1]) - 2 * EDGE

    @property
    def height(self) -> int:
        """Of its ink, in pixels."""
        return int(self.glyph.alpha.shape[0]) - 2 * EDGE

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1), half-open, tight around its ink."""
        return (self.x, self.y, self.x + self.width, self.y + self.height)

    @property
    def ink(self) -> NDArray[np.bool_]:
        """The pixels of its box that are ink."""
        return self.glyph.alpha[EDGE:-EDGE, EDGE:-EDGE] >= 0.5


class Strip(NamedTuple):
    """A slip of paper across the page."""

    corners: tuple[tuple[float, float], ...]
    colour: tuple[int, int, int]


class Layout(NamedTuple):
    """Everything that will be drawn on the paper, back to front."""

    pieces: tuple[Piece, ...]
    strip: Strip | None


def lay_out(rng: Random, *, pool: str, recipe: SceneRecipe, side: int) -> Layout:
    """Choose digits and places. Digits keep apart, unless the recipe's chance asks for one to be covered."""
    pieces = _place(rng, _choose_pieces(rng, pool, recipe, side), side, pool=pool, recipe=recipe)
    strip = None
    if pieces and rng.random() < recipe.occlusion:
        if len(pieces) >= 2 and rng.random() < 0.6:
            pieces = _overlap(rng, pieces, side)
        else:
            strip = _strip(rng, pieces, side)
    return Layout(tuple(pieces), strip)


def paint_labels(layout: Layout, side: int) -> NDArray[np.uint8]:
    """The label map: which digit's ink is visible at each pixel, 0 for none, ids counted from 1 back to front."""
    labels = np.zeros((side, side), dtype=np.uint8)
    for number, piece in enumerate(layout.pieces, start=1):
        x0, y0, x1, y1 = piece.box
        labels[y0:y1, x0:x1][piece.ink] = number
    if layout.strip:
        labels[strip_mask(layout.strip, side) >= 0.5] = 0
    return labels


def visible_shares(layout: Layout, labels: NDArray[np.uint8]) -> list[float]:
    """Share of each digit's ink that shows in the label map."""
    seen = np.bincount(labels.ravel(), minlength=len(layout.pieces) + 1)
    return [int(seen[number]) / int(piece.ink.sum()) for number, piece in enumerate(layout.pieces, start=1)]


def strip_mask(strip: Strip, side: int) -> Mask:
    """Coverage of the strip, 0..1 per pixel."""
    fine = 4
    image = Image.new("L", (side * fine, side * fine))
    ImageDraw.Draw(image).polygon([(x * fine, y * fine) for x, y in strip.corners], fill=255)
    return np.asarray(image.reduce(fine), dtype=np.float32) / np.float32(255)


def _choose_pieces(rng: Random, pool: str, recipe: SceneRecipe, side: int) -> list[Piece]:
    count = rng.choices(range(len(recipe.counts)), recipe.counts)[0]
    labels, colours = list(recipe.labels), list(recipe.colours)
    if count >= 2 and rng.random() < recipe.kinship:
        if rng.random() < 0.5:
            colours = rng.sample(colours, min(len(colours), rng.choice((1, 2, 2))))
        else:
            labels = rng.sample(labels, min(len(labels), rng.choice((1, 2, 2))))
    with_small = count > 0 and rng.random() < recipe.small_size
    with_turned = rng.random() < recipe.rotated
    pieces = []
    for _ in range(count):
        label, colour = rng.choice(labels), rng.choice(colours)
        size = "small" if with_small and rng.random() < 0.65 else rng.choices(SIZES[1:], recipe.sizes)[0]
        turn = rng.choice(TURNABLE[label]) if with_turned and label in TURNABLE and rng.random() < 0.75 else 0
        pieces.append(_write(rng, label, colour, size, turn, pool=pool, recipe=recipe, side=side))
    return pieces


def _write(rng: Random, label: int, colour: str, size: str, turn: int, *, pool: str, recipe: SceneRecipe, side: int) -> Piece:
    low, high = SIZE_RANGES[size]
    tilt = math.radians(rng.uniform(-recipe.tilt_degrees, recipe.tilt_degrees))
    source = pick_source(rng, pool, label)
    glyph = draw_glyph(source, extent=rng.uniform(low, high) * side, turn=turn, tilt=tilt)
    return Piece(label, colour, size, turn, source, glyph)


def _place(rng: Random, pieces: list[Piece], side: int, *, pool: str, recipe: SceneRecipe) -> list[Piece]:
    """Put the largest down first; one that finds no room is written smaller, and left out when even that does not fit."""
    placed: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: -piece.width * piece.height):
        candidate: Piece | None = piece
        while candidate is not None:
            spot = _free_spot(rng, candidate, placed, side)
            if spot is not None:
                placed.append(candidate._replace(x=spot[0], y=spot[1]))
                break
            candidate = _smaller(rng, candidate, pool=pool, recipe=recipe, side=side)
    rng.shuffle(placed)
    return placed


def _smaller(rng: Random, piece: Piece, *, pool: str, recipe: SceneRecipe, side: int) -> Piece | None:
    if piece.size != "large":
        return None
    return _write(rng, piece.label, piece.colour, "medium", piece.turn, pool=pool, recipe=recipe, side=side)


def _free_spot(rng: Random, piece: Piece, placed: list[Piece], side: int) -> tuple[int, int] | None:
    border, gap = math.ceil(BORDER * side), math.ceil(GAP * side)
    right, bottom = side - border - piece.width, side - border - piece.height
    if right < border or bottom < border:
        return None
    for _ in range(50):
        x, y = rng.randint(border, right), rng.randint(border, bottom)
        if all(_apart((x, y, x + piece.width, y + piece.height), other.box, gap) for other in placed):
            return x, y
    return None


def _apart(a: tuple[int, int, int, int], b: tuple[int, int, int, int], gap: int) -> bool:
    return a[2] + gap <= b[0] or b[2] + gap <= a[0] or a[3] + gap <= b[1] or b[3] + gap <= a[1]


def _overlap(rng: Random, pieces: list[Piece], side: int) -> list[Piece]:
    """Move one digit onto another of a different colour. The pieces as they were when no place for that is found."""
    border, gap = math.ceil(BORDER * side), math.ceil(GAP * side)
    pairs = [(a, b) for a in pieces for b in pieces if a.colour != b.colour and "small" not in {a.size, b.size}]
    if not pairs:
        return pieces
    for _ in range(24):
        front, back = rng.choice(pairs)
        others = [piece for piece in pieces if piece is not front and piece is not back]
        angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.45, 0.85)
        x = back.x + back.width / 2 + math.cos(angle) * reach * (front.width + back.width) / 2 - front.width / 2
        y = back.y + back.height / 2 + math.sin(angle) * reach * (front.height + back.height) / 2 - front.height / 2
        moved = front._replace(x=round(x), y=round(y))
        inside = min(moved.box) >= border and max(moved.box) <= side - border
        if not inside or not all(_apart(moved.box, other.box, gap) for other in others):
            continue
        layout = Layout((*others, back, moved), None)
        shares = visible_shares(layout, paint_labels(layout, side))
        if MIN_VISIBLE <= shares[-2] <= MAX_VISIBLE_WHEN_COVERED:
            return list(layout.pieces)
    return pieces


def _strip(rng: Random, pieces: list[Piece], side: int) -> Strip | None:
    """A slip of paper over one digit, or None when no place leaves every digit readable."""
    targets = [piece for piece in pieces if piece.size != "small"]
    for _ in range(24 if targets else 0):
        target = rng.choice(targets)
        extent = max(target.width, target.height)
        half_length, half_width = rng.uniform(0.6, 0.95) * extent, rng.uniform(0.065, 0.105) * extent
        angle = rng.choice((0.0, math.pi / 4, math.pi / 2, -math.pi / 4)) + rng.uniform(-0.2, 0.2)
        x = target.x + target.width / 2 + rng.uniform(-0.3, 0.3) * target.width
        y = target.y + target.height / 2 + rng.uniform(-0.3, 0.3) * target.height
        along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
        corners = tuple(
            (
                x + a * half_length * along[0] + b * half_width * across[0],
                y + a * half_length * along[1] + b * half_width * across[1],
            )
            for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
        )
        strip = Strip(corners, rng.choice(STRIP_COLOURS))
        layout = Layout(tuple(pieces), strip)
        shares = visible_shares(layout, paint_labels(layout, side))
        if min(shares) >= MIN_VISIBLE and min(shares) <= MAX_VISIBLE_WHEN_COVERED:
            return strip
    return None
