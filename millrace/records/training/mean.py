"""A mean and how surely it is known."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean with Student's 95 % interval. What cannot be known is None."""

    estimate: float | None
    low: float | None
    high: float | None
    """None with fewer than 3 values."""
    count: int
    """Values that it is of: pairs of windows, windows, or parts of a window."""
    reason: str | UnsetType = UNSET
    """Why the mean, or its interval, is not known."""
