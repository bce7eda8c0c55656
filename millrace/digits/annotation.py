"""The annotation kind of the embedded world: what a digit scene shows, in a column `scene`, and its pixels in `label_map`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from millrace.digits.scenes.scene import Scene, scene_from_json
from millrace.lake.annotations import Annotation, AnnotationKind

NAME = "digit_scene"


def read(cells: Mapping[str, Any]) -> Annotation | None:
    """The annotation in a row; None for a column `scene` that holds something else."""
    text, label_map = cells["scene"], cells["label_map"]
    if not isinstance(text, str) or not text.startswith("{"):
        return None
    data = text.encode()
    try:
        _decoded(data)
    except msgspec.DecodeError:
        return None
    return Annotation(NAME, data, label_map if isinstance(label_map, bytes) else None)


def scene_of(row: Any) -> Scene:
    """The scene of a row that has one."""
    return _decoded(row.annotation.data)


@lru_cache(maxsize=64)
def _decoded(data: bytes) -> Scene:
    return scene_from_json(data)


def own_pipelines() -> Mapping[str, Mapping[str, Any]]:
    """See `millrace.digits.phrasing.own_pipelines`."""
    from millrace.digits import phrasing

    return phrasing.own_pipelines()


FACTORS = {
    "noise": "grain over the whole picture",
    "low_light": "a dark picture",
    "blur": "out of focus",
    "occlusion": "a digit is partly covered",
    "clutter": "scribbles and shapes between the digits",
    "small_size": "small digits",
    "rotated": "a digit is turned by a quarter or more",
    "crowded": "four digits or more",
}

KIND = AnnotationKind(
    ("scene", "label_map"),
    read,
    claims="millrace.digits.claims",
    questions="millrace.digits.question_rules",
    pipelines=own_pipelines,
    factors=FACTORS,
)
