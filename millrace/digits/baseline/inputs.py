"""How a picture and a question become the embedded baseline's input, in training as in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from millrace.probing.claims import fill

if TYPE_CHECKING:
    from PIL import Image


def shrink(image: Image.Image, side: int) -> Image.Image:
    """The picture at the model's input size; another aspect ratio is squeezed, so that shares and regions stay true."""
    from PIL import Image

    return image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)


def open_text(text: str, slots: Sequence[str], slot: str) -> str:
    """`text` with the other open slots left out, so that the one gap is what is asked for."""
    return fill(text, {other: "" for other in slots if other != slot})


def number_words(words: Sequence[str], numbers: Mapping[str, int], length: int) -> list[int]:
    """The numbers of the words that are known, `length` of them at most and padded with zeros."""
    known = [numbers[word] for word in words if word in numbers][:length]
    return known + [0] * (length - len(known))
