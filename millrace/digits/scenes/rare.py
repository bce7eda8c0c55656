"""Scenes of a lake in which what is hard is rare: mostly what the embedded baseline was taught, and a little of the rest.

A model in use mostly meets what it knows, and fails where it does not. `recipes.BROAD` is no such lake (most of its pictures have
something hard about them); this one is. A file of its own, because a baseline is trained anew when `recipes` changes.
"""

from __future__ import annotations

from millrace.digits.scenes.recipes import NARROW, RECIPES, SceneRecipe

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

LAKE_RECIPES = {**RECIPES, RARE.name: RARE}
"""What a lake may consist of, by the name that a config gives."""
