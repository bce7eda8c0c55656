"""Pictures with boxes, drawn for tests that know what is right without asking the code."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from typing import Any

from PIL import Image

from millrace.boxes.annotation import read
from millrace.lake.rows import LakeRow
from millrace.records.lake import ImageRef

WIDTH, HEIGHT = 600, 300


@lru_cache(maxsize=4)
def blank(width: int = WIDTH, height: int = HEIGHT) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(out, "PNG")
    return out.getvalue()


def thing(label: str, x: float, y: float, width: float = 60, height: float = 40, **attributes: str) -> dict[str, Any]:
    """A thing with its middle at (x, y)."""
    box = [x - width / 2, y - height / 2, width, height]
    return {"label": label, "box": box, **({"attributes": attributes} if attributes else {})}


def row(*things: dict[str, Any], absent: tuple[str, ...] = (), incomplete: tuple[str, ...] = ()) -> LakeRow:
    """A lake row with these boxes."""
    told = json.dumps({"things": things, "absent": absent, "incomplete": incomplete})
    return LakeRow(ImageRef("img", "a.parquet", 0, "ab"), blank(), None, read({"boxes": told}), {})
