"""What places, directions and turns in a picture are called: the one spelling of annotations, claims and questions."""

from __future__ import annotations

REGIONS = (
    "top left",
    "top centre",
    "top right",
    "middle left",
    "centre",
    "middle right",
    "bottom left",
    "bottom centre",
    "bottom right",
)
"""The nine parts of the picture, row by row."""
DIRECTIONS = ("left of", "right of", "above", "below", "in front of", "behind")
PLACES = ("leftmost", "rightmost", "topmost", "bottommost")
QUARTERS = ("top left", "top right", "bottom left", "bottom right")
"""The four quarters of the picture, row by row."""
POINTS = ("up", "right", "down", "left")
"""Where a thing's top points, by clockwise quarter-turns."""
TURNS = ("upright", "turned clockwise", "upside down", "turned counter-clockwise")
"""How a thing is turned, by clockwise quarter-turns."""
