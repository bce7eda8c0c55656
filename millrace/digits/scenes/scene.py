"""What a digit scene shows, as data: the annotation that travels beside every image of the embedded lake.

An annotation is written by the program that drew the image, so it is exact. The pixels say the same thing once more: the
label map (an 8-bit image of the same size, 0 = no ink, value i = a visible ink pixel of the digit with id i) is kept beside
the annotation so that answers can be computed from the one and checked with the other.
"""

from __future__ import annotations

import msgspec

SCENE_VERSION = 1
"""Raised when a field of `Scene` changes its meaning."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (206, 32, 46),
    "blue": (28, 92, 204),
    "green": (22, 138, 66),
    "orange": (240, 132, 8),
    "purple": (146, 56, 184),
    "black": (36, 35, 38),
}
"""Ink colours by name, as 8-bit RGB: six that people name alike and that stay apart in dim light."""

SIZES = ("small", "medium", "large")
"""Size words, ascending. `SIZE_RANGES` says what they mean."""

SIZE_RANGES: dict[str, tuple[float, float]] = {"small": (0.105, 0.14), "medium": (0.20, 0.265), "large": (0.35, 0.48)}
"""The longer side of a digit's ink as a share of the image's side, for each size word; with wide gaps."""

FACTORS = ("noise", "low_light", "blur", "occlusion", "clutter", "small_size", "rotated", "crowded")
"""Properties of an image that may go with failures.

noise, low_light, blur: the whole picture is so. occlusion: a digit is partly covered. clutter: drawings that are no digits lie
about. small_size: a digit is small. rotated: a digit is turned by a quarter or more. crowded: there are four digits or more.
"""

POOLS = ("train", "probe", "heldout")
"""Which handwritten digits a scene may be made of. The three pools have no digit in common."""

TURNABLE = {2: (1, 3), 3: (1, 2, 3), 4: (1, 2, 3), 5: (1, 3), 7: (1, 2, 3)}
"""Quarter-turns that leave a digit readable: a turned 6 is a 9, a turned 1 is a dash, and a 2 on its head is a 2."""


class SceneDigit(msgspec.Struct, frozen=True):
    """One handwritten digit in a scene."""

    id: int
    """1-based; also its value in the label map."""
    label: int
    """The digit written, 0 to 9."""
    colour: str
    """A name in `COLOURS`."""
    size: str
    """A name in `SIZES`."""
    turn: int
    """Clockwise quarter-turns, 0 to 3: 1 means that its top points right."""
    box: tuple[int, int, int, int]
    """(x0, y0, x1, y1) in pixels, half-open, tight around its whole ink, hidden parts included."""
    visible: float
    """Share of its ink pixels that nothing covers, 0 to 1."""
    z: int
    """Bigger is in front."""
    source: int
    """Row in scikit-learn's `load_digits()`, where its handwriting comes from."""


class Scene(msgspec.Struct, frozen=True):
    """One image's annotation."""

    version: int
    width: int
    height: int
    digits: tuple[SceneDigit, ...]
    """In the order of their ids."""
    factors: tuple[str, ...]
    """Those of `FACTORS` that hold, in that order: read off the finished picture, not off the plan for it."""
    background: str
    """A name in `papers.PAPERS`."""
    pool: str
    """A name in `POOLS`."""


def scene_to_json(scene: Scene) -> str:
    """The text that the parquet column `scene` holds."""
    return msgspec.json.encode(scene).decode()


def scene_from_json(text: str | bytes) -> Scene:
    """Read the parquet column `scene`. Raises `msgspec.ValidationError` (or `DecodeError`) for anything else."""
    return _DECODER.decode(text)


_DECODER = msgspec.json.Decoder(Scene)
