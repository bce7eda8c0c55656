"""Scenes written by hand, for tests that know what is right without asking the code."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from PIL import Image

from millrace.digits.scenes.compose import draw_scene
from millrace.digits.scenes.recipes import BROAD, SceneRecipe
from millrace.digits.scenes.scene import Scene, SceneDigit, scene_to_json
from millrace.lake.annotations import Annotation

SIDE = 200


def digit(
    label: int, colour: str, x: float, y: float, *, size: int = 40, turn: int = 0, visible: float = 1.0, z: int = 1
) -> SceneDigit:
    """A digit whose box is `size` wide and high around (x, y), in pixels of a picture of 200 by 200."""
    half = size // 2
    box = (int(x) - half, int(y) - half, int(x) - half + size, int(y) - half + size)
    return SceneDigit(1, label, colour, "medium", turn, box, visible, z, 0)


def scene(*digits: SceneDigit, factors: tuple[str, ...] = ()) -> Scene:
    """A scene of these digits."""
    numbered = (
        SceneDigit(number, one.label, one.colour, one.size, one.turn, one.box, one.visible, one.z, one.source)
        for number, one in enumerate(digits, start=1)
    )
    return Scene(1, SIDE, SIDE, tuple(numbered), factors, "white", "probe")


def row(annotated: Scene | None) -> Any:
    """As much of a lake row as a judge looks at."""
    return SimpleNamespace(annotation=annotated and Annotation("digit_scene", scene_to_json(annotated).encode()))


def drawn_scenes(count: int, *, recipe: SceneRecipe = BROAD, pool: str = "probe") -> list[tuple[Image.Image, Scene, Any]]:
    """(picture, annotation, label map) of `count` real scenes."""
    pictures = (draw_scene(random.Random(f"test {number}"), pool=pool, recipe=recipe) for number in range(count))
    return [(Image.fromarray(drawn.rgb), drawn.scene, drawn.labels) for drawn in pictures]
