"""Recognising a picture that was stored anew: another format, another quality, another size.

The 64-bit hash of the low frequencies is the one that N. Krawetz describes as pHash ("Looks Like It", 2011,
https://hackerfactor.com/blog/index.php?/archives/432-Looks-Like-It.html); a thumbnail decides where hashes are near, for
pictures of one kind (the same paper, the same light) have near hashes without being the same picture.

Covers: re-encoding, resizing, slight changes of brightness. Does not cover: crops, mirrored or turned copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""Pixels on a side of the grey picture whose frequencies are hashed."""
LOW = 8
"""Frequencies on a side that are kept: 64 bits."""
THUMBNAIL = 16
"""Pixels on a side of a thumbnail."""
NEAR_BITS = 12
"""Hashes that differ in more bits are of different pictures."""
LARGEST_CHANGE = 20.0
"""Levels (of 255) by which every block of two thumbnails of one picture differs less. On the embedded lake a copy at half the
size and JPEG quality 20 differs by 17 at most, and of 707 pairs of pictures with near hashes the nearest by 28."""


def perceptual_hash(image: Image.Image) -> int:
    """64 bits: which of the low frequencies lie above their median."""
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS), dtype=np.float64)
    low = (_cosines() @ grey @ _cosines().T)[:LOW, :LOW]
    bits = (low > np.median(low)).flatten()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


@lru_cache(maxsize=1)
def _cosines() -> NDArray[np.float64]:
    """The rows of the discrete cosine transform that are needed."""
    place = np.arange(SIDE)
    rows: NDArray[np.float64] = np.cos(np.pi / SIDE * (place[None] + 0.5) * np.arange(LOW)[:, None])
    return rows


def thumbnail_of(image: Image.Image) -> bytes:
    """`THUMBNAIL` × `THUMBNAIL` pixels, RGB."""
    return image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX).tobytes()


def largest_change(one: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How much the block that differs most differs between one thumbnail and each of others, in levels.

    Args:
        one: (768,), `thumbnail_of` as numbers.
        others: (n, 768).
    """
    change = np.abs(others.astype(np.int16) - one.astype(np.int16)).reshape(len(others), -1, 3)
    found: NDArray[np.float64] = change.mean(-1).max(-1)
    return found


def groups_of_copies(hashes: Sequence[int], thumbnails: Sequence[bytes]) -> NDArray[np.int64]:
    """For each picture the number of the first one that it is a copy of, or of a copy of it …; its own number without one.

    Every hash is compared with every later one: 100,000 pictures take some ten seconds, a million a hundred times as long.
    """
    count = len(hashes)
    first = np.arange(count, dtype=np.int64)
    bits = np.array(hashes, dtype=np.uint64)
    looks = np.frombuffer(b"".join(thumbnails), np.uint8).reshape(count, -1) if count else np.zeros((0, 0), np.uint8)
    for place in range(count - 1):
        near = np.bitwise_count(bits[place + 1 :] ^ bits[place]) <= NEAR_BITS
        near &= first[place + 1 :] != first[place]  # those of one group already need no second look
        others = np.flatnonzero(near) + place + 1
        if not len(others):
            continue
        same = others[largest_change(looks[place], looks[others]) < LARGEST_CHANGE]
        if len(same):
            joined = np.unique(np.append(first[same], first[place]))
            first[np.isin(first, joined)] = joined[0]
    return first
