"""Where images lie."""

from __future__ import annotations

import msgspec


class ImageRef(msgspec.Struct, frozen=True):
    """Where one image lies: enough to find it again, and to notice that it is no longer the same."""

    image_id: str
    """The column `image_id`; without one the file name in a path column; without that `{parquet file}_{row}`."""
    file: str
    """The parquet file, relative to the lake's folder when it is inside."""
    row: int
    """Row in that file, from 0."""
    sha256: str
    """16 hex digits over the stored bytes; "" when there are none."""

    @property
    def key(self) -> str:
        """What tells images apart: their content, or their name where that is not known."""
        return self.sha256 or self.image_id
