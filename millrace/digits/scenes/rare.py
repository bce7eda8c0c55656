"""Scenes of a lake in which what is hard is rare: mostly what the embedded baseline was taught, and a little of the rest.

A model in use mostly meets what it knows, and fails where it does not. `recipes.BROAD` is no such lake (most of its pictures have
something hard about them); this one is. A file of its own, because a baseline is trained anew when `recipes` changes.
"""

from __future__ import annotations

from msgspec import structs

from millrace.digits.scenes.recipes import BROAD, NARROW, RECIPES, SceneRecipe

RARE = SceneRecipe(
    name="rare",
    counts=(0.05, 0.33, 0.34, 0.26, 0.015, 0.005),
    backgrounds=NARROW.backgrounds,
    tilt_degrees=NARROW.tilt_degrees,
    small_size=0.03,
    rotated=0.04,
    occlusion=0.035,
    clutter=0.03,
    noise=0.03,
    low_light=0.025,
    blur=0.03,
)

FOREIGN = structs.replace(RARE, name="foreign", backgrounds=tuple(sorted(set(BROAD.backgrounds) - set(NARROW.backgrounds))))
"""The same on papers that no scene of RARE or NARROW lies on: a kind of scene that is new to a model trained on those."""

LAKE_RECIPES = {**RECIPES, RARE.name: RARE, FOREIGN.name: FOREIGN}
"""What a lake may consist of, by the name that a config gives."""
