"""What kinds of scenes to draw: the ranges that chance picks from.

BROAD is what models are probed with: everything the annotation can say. NARROW is what the embedded baseline is trained on,
narrow on purpose: a model that has seen few, large, upright, clean digits has real weaknesses for a probe to find.
"""

from __future__ import annotations

import msgspec

from millrace.digits.scenes.scene import COLOURS


class SceneRecipe(msgspec.Struct, frozen=True):
    """Ranges for scenes. Every share is a probability, 0 to 1."""

    name: str
    counts: tuple[float, ...]
    """Weight of 0, 1, 2 … digits in a scene."""
    labels: tuple[int, ...] = tuple(range(10))
    colours: tuple[str, ...] = tuple(COLOURS)
    sizes: tuple[float, float] = (0.55, 0.45)
    """Weight of medium and large; small digits come with the factor small_size."""
    backgrounds: tuple[str, ...] = ("white", "cream", "sage", "rose", "mist", "kraft", "ruled", "grid", "dotted", "linen")
    tilt_degrees: float = 8.0
    """Digits lean by up to this much either way."""
    kinship: float = 0.5
    """Share of scenes whose digits come from few labels or few colours, so that there is something to count and to tell apart."""
    small_size: float = 0.30
    """Share of scenes with small digits."""
    rotated: float = 0.30
    """Share of scenes with digits turned by quarter-turns."""
    occlusion: float = 0.28
    """Share of scenes where one digit is to be covered in part."""
    clutter: float = 0.22
    noise: float = 0.17
    low_light: float = 0.17
    blur: float = 0.22
    """noise, low_light and blur exclude each other; blur is left out where digits are small or covered."""


BROAD = SceneRecipe(name="broad", counts=(0.05, 0.13, 0.20, 0.20, 0.17, 0.14, 0.11))

NARROW = SceneRecipe(
    name="narrow",
    counts=(0.05, 0.33, 0.34, 0.28),
    backgrounds=("white", "cream", "mist", "grid"),
    tilt_degrees=4.0,
    small_size=0.0,
    rotated=0.06,
    occlusion=0.0,
    clutter=0.0,
    noise=0.0,
    low_light=0.0,
    blur=0.0,
)

RECIPES = {recipe.name: recipe for recipe in (BROAD, NARROW)}
"""By the name that a config gives."""
