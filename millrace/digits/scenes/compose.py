"""Draw a digit scene: the picture, its annotation, and the label map that says the same in pixels."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from millrace.digits.scenes import effects
from millrace.digits.scenes.glyphs import EDGE
from millrace.digits.scenes.layout import Layout, Piece, lay_out, paint_labels, strip_mask, visible_shares
from millrace.digits.scenes.papers import lay_paper
from millrace.digits.scenes.recipes import BROAD, SceneRecipe
from millrace.digits.scenes.scene import COLOURS, FACTORS, SCENE_VERSION, Scene, SceneDigit

SIDE = 224
"""Pixels on a side unless told otherwise: what most vision encoders take."""

COVERED_BELOW = 0.95
"""A digit that shows less of its ink than this makes its scene an occluded one."""


class Drawn(NamedTuple):
    """A finished scene."""

    rgb: NDArray[np.uint8]
    """(H, W, 3)."""
    scene: Scene
    labels: NDArray[np.uint8]
    """(H, W): 0, or the id of the digit whose ink shows there."""


def compose_scene(
    rng: Random, *, pool: str, recipe: SceneRecipe = BROAD, side: int = SIDE
) -> tuple[Image.Image, Scene, NDArray[np.uint8]]:
    """One scene as (picture, annotation, label map), made of `pool`'s digits only; `rng` alone decides what it shows."""
    drawn = draw_scene(rng, pool=pool, recipe=recipe, side=side)
    return Image.fromarray(drawn.rgb), drawn.scene, drawn.labels


def draw_scene(rng: Random, *, pool: str, recipe: SceneRecipe = BROAD, side: int = SIDE) -> Drawn:
    """`compose_scene` as arrays: the fast path for training, where nothing is encoded."""
    layout = lay_out(rng, pool=pool, recipe=recipe, side=side)
    labels = paint_labels(layout, side)
    background = rng.choice(recipe.backgrounds)
    delicate = min(visible_shares(layout, labels), default=1.0) < COVERED_BELOW or any(p.size == "small" for p in layout.pieces)
    nuisances = _choose_nuisances(rng, recipe, delicate=delicate)
    sheet = Image.fromarray(np.clip(lay_paper(background, rng, side), 0, 255).astype(np.uint8))
    if "clutter" in nuisances:
        sheet = effects.scatter_clutter(sheet, rng)
    for piece in layout.pieces:
        _ink(sheet, piece, rng)
    if layout.strip:
        _tape(sheet, layout, side)
    if "blur" in nuisances:
        sheet = effects.blur(sheet, rng)
    rgb = np.asarray(sheet)
    if "low_light" in nuisances or "noise" in nuisances:
        canvas = rgb.astype(np.float32)
        if "low_light" in nuisances:
            canvas = effects.dim(canvas, rng)
        if "noise" in nuisances:
            canvas = effects.add_noise(canvas, rng)
        rgb = np.clip(canvas + np.float32(0.5), 0, 255).astype(np.uint8)
    scene = Scene(SCENE_VERSION, side, side, _annotate(layout, labels), (), background, pool)
    return Drawn(rgb, msgspec.structs.replace(scene, factors=_factors(scene, nuisances)), labels)


def _choose_nuisances(rng: Random, recipe: SceneRecipe, *, delicate: bool) -> set[str]:
    """What to do to the picture: one thing at most to the whole of it, and no blur where digits are delicate.

    People must still be able to tell the answer, and a failure should not have two suspects that always come together.
    """
    chosen = {"clutter"} if rng.random() < recipe.clutter else set()
    draw = rng.random()
    for name, share in (("noise", recipe.noise), ("low_light", recipe.low_light), ("blur", recipe.blur)):
        if 0 <= draw < share and not (delicate and name == "blur"):
            chosen.add(name)
        draw -= share
    return chosen


def _ink(sheet: Image.Image, piece: Piece, rng: Random) -> None:
    """One digit: a soft shadow, a thin rim of paper so that it stands off what is behind it, and ink with a body."""
    side = sheet.width
    x, y = piece.x - EDGE, piece.y - EDGE
    alpha = Image.fromarray((piece.glyph.alpha * 255).astype(np.uint8))
    reach = max(round(side * 0.016), 2)
    padded = Image.new("L", (alpha.width + 4 * reach, alpha.height + 4 * reach))
    padded.paste(alpha, (2 * reach, 2 * reach))
    shadow = padded.filter(ImageFilter.GaussianBlur(reach * 0.7)).point(lambda value: value * 0.42)
    offset = max(round(side * 0.009), 1)
    sheet.paste((58, 50, 44), (x - 2 * reach + offset, y - 2 * reach + offset), shadow)
    sheet.paste(_body(piece, rng), (x, y), alpha)


def _body(piece: Piece, rng: Random) -> Image.Image:
    """The ink itself: its colour, lit from the top left along the stroke's own relief."""
    height = piece.glyph.height
    step = max(round(max(height.shape) / 24), 1)  # two points of the height field: no finer than the field itself
    padded = np.pad(height, step, mode="edge")
    relief = padded[step + step // 2 :, step + step // 2 :][: height.shape[0], : height.shape[1]]
    relief = relief - padded[step - (step + 1) // 2 :, step - (step + 1) // 2 :][: height.shape[0], : height.shape[1]]
    light = np.tanh(relief * np.float32(3.6)) * np.float32(0.42) + np.float32(rng.uniform(-0.04, 0.04))
    colour = np.array(COLOURS[piece.colour], dtype=np.float32)
    towards = np.where(light[..., None] > 0, np.float32(255), np.float32(0))
    body = colour + (towards - colour) * np.abs(light)[..., None] * np.float32(0.55)
    return Image.fromarray(body.astype(np.uint8))


def _tape(sheet: Image.Image, layout: Layout, side: int) -> None:
    assert layout.strip is not None
    mask = Image.fromarray((strip_mask(layout.strip, side) * 255).astype(np.uint8))
    shadow = mask.filter(ImageFilter.GaussianBlur(side * 0.008)).point(lambda value: value * 0.4)
    offset = max(round(side * 0.007), 1)
    sheet.paste((58, 50, 44), (offset, offset), shadow)
    sheet.paste(layout.strip.colour, (0, 0), mask)


def _annotate(layout: Layout, labels: NDArray[np.uint8]) -> tuple[SceneDigit, ...]:
    shares = visible_shares(layout, labels)
    return tuple(
        SceneDigit(
            id=number,
            label=piece.label,
            colour=piece.colour,
            size=piece.size,
            turn=piece.turn,
            box=piece.box,
            visible=round(share, 4),
            z=number,
            source=piece.source,
        )
        for number, (piece, share) in enumerate(zip(layout.pieces, shares, strict=True), start=1)
    )


def _factors(scene: Scene, nuisances: set[str]) -> tuple[str, ...]:
    holds = {
        **dict.fromkeys(nuisances, True),
        "occlusion": any(digit.visible < COVERED_BELOW for digit in scene.digits),
        "small_size": any(digit.size == "small" for digit in scene.digits),
        "rotated": any(digit.turn for digit in scene.digits),
        "crowded": len(scene.digits) >= 4,
    }
    return tuple(factor for factor in FACTORS if holds.get(factor))
