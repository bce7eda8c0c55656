"""Stored bytes to a picture: every form an image takes in a parquet column, and what can be wrong with it.

Whatever is wrong ends as `ItemFailed` with one of `REASONS`, never as another exception: one bad image is a record, not a crash.
"""

from __future__ import annotations

import base64
import binascii
import re
import warnings
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from millrace.errors import ItemFailed
from millrace.pixels import as_rgb, known_formats, upright, with_stored_bytes

REASONS = {
    "no_image": "the row has no image bytes and no path",
    "remote_image": "the row names a URL; nothing is downloaded",
    "missing_file": "the row names a file that is not there or cannot be read",
    "bad_image_value": "the image column holds something that is neither bytes nor a form of them",
    "not_an_image": "the bytes are no image in a known format",
    "truncated_image": "the image ends before its last pixel",
    "damaged_image": "the image is broken inside",
    "image_too_large": "decoding would take more pixels or bytes than allowed",
    "image_changed": "the stored bytes are not those that were recorded",
    "bad_annotation": "the row's annotation contradicts itself or its picture",
    "unreadable_rows": "this part of the parquet file is damaged",
}
"""Why an image may be refused, with the sentence that a report shows."""

MAX_PIXELS = 64_000_000
"""Largest picture decoded unless told otherwise: 192 MB as RGB, more than any camera file, far less than a decompression bomb."""

MAX_BYTES = 256 * 1024 * 1024
"""Largest stored image that is opened at all."""

_CUT_SHORT = ("truncated", "not enough image data", "eof", "broken data stream")
_UNREAD = (
    (re.compile(rb"....ftyp(heic|heix|hevc|hevx|heim|heis|mif1|msf1)", re.DOTALL), "HEIC"),
    (re.compile(rb"\xff\x0a|\x00\x00\x00\x0cJXL "), "JPEG XL"),
    (re.compile(rb"....ftypcrx |II\x1a\x00\x00\x00HEAP|FUJIFILMCCD-RAW|IIRO|IIU\x00", re.DOTALL), "a camera's raw format"),
    (re.compile(rb"....ftyp(isom|mp4|avc1|qt  |M4V)|\x1aE\xdf\xa3", re.DOTALL), "a video"),
    (re.compile(rb"%PDF-|%!PS"), "a PDF or PostScript document"),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg[\s>]", re.DOTALL), "SVG, a drawing"),
    (re.compile(rb"\s*<(!doctype html|html|head)", re.IGNORECASE), "a web page"),
)
"""How files begin that people take for pictures and that are not decoded here, and what they are."""

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"GIF8", b"BM", b"II*\0", b"MM\0*")

# Pillow warns of odd metadata and of sizes that are checked here anyway; a million such lines would hide what matters.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def image_bytes(value: Any) -> bytes | None:
    """The encoded image in one cell: bytes, a view of them, a list of numbers, a struct with `bytes`, or base64 text.

    None when the cell is empty. Raises `ItemFailed("bad_image_value")` for anything else.
    """
    if isinstance(value, Mapping):
        value = value.get("bytes")
    if value is None:
        return None
    if isinstance(value, str):
        return base64_bytes(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value) or None
    if isinstance(value, list | tuple | np.ndarray):
        try:
            numbers = np.asarray(value)
            if numbers.ndim == 1 and numbers.size == 0:
                return None
            if numbers.ndim == 1 and numbers.dtype.kind in "iu" and numbers.min() >= 0 and numbers.max() <= 255:
                return numbers.astype(np.uint8).tobytes()
        except (ValueError, TypeError, OverflowError):
            pass
        raise ItemFailed("bad_image_value", "the list is not made of numbers from 0 to 255")
    raise ItemFailed("bad_image_value", f"cannot take image bytes from a value of type {type(value).__name__}")


def base64_bytes(text: str) -> bytes | None:
    """Decode base64 text, with or without a `data:image/...;base64,` prefix, line breaks and padding. None when it is empty."""
    payload = text.partition(",")[2] if text.lstrip()[:5].lower() == "data:" else text
    payload = "".join(payload.split()).rstrip("=")
    try:
        packed = payload.encode("ascii").translate(bytes.maketrans(b"-_", b"+/"))
        return base64.b64decode(packed + b"=" * (-len(packed) % 4), validate=True) or None
    except (UnicodeEncodeError, binascii.Error, ValueError) as error:
        raise ItemFailed("bad_image_value", f"the text is not base64: {error}") from error


def decode_image(data: Any, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in `data` as 8-bit RGB, turned the way its EXIF says, transparency laid on white.

    Takes what `image_bytes` takes. Of an animation the first frame counts. The size is checked before any pixel is decoded.

    Raises:
        ItemFailed: with a reason from `REASONS`.
    """
    raw = image_bytes(data)
    if not raw:
        raise ItemFailed("no_image", REASONS["no_image"])
    if len(raw) > MAX_BYTES:
        raise ItemFailed("image_too_large", f"{len(raw):,} bytes stored, {MAX_BYTES:,} allowed")
    try:
        return _decode(raw, max_pixels)
    except ItemFailed:
        raise
    except UnidentifiedImageError as error:
        if raw.startswith(_MAGIC):
            raise ItemFailed("truncated_image", f"the header of the image is incomplete ({len(raw)} bytes)") from error
        kind = next((name for begins, name in _UNREAD if begins.match(raw[:512])), None)
        if kind is not None:
            raise ItemFailed("not_an_image", f"this is {kind}, which is not decoded; store it as JPEG or PNG") from error
        raise ItemFailed("not_an_image", f"{len(raw)} bytes starting with {raw[:8]!r}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ItemFailed("image_too_large", str(error)) from error
    except Exception as error:  # a broken image makes a decoder raise anything at all; here it becomes a record
        cut_short = isinstance(error, EOFError) or any(words in str(error).lower() for words in _CUT_SHORT)
        reason = "truncated_image" if cut_short else "damaged_image"
        raise ItemFailed(reason, f"{type(error).__name__}: {error}") from error


def _decode(raw: bytes, max_pixels: int) -> Image.Image:
    with Image.open(BytesIO(raw), formats=known_formats()) as opened:
        width, height = opened.size
        if width * height > max_pixels:
            raise ItemFailed("image_too_large", f"{width} x {height} pixels, {max_pixels:,} allowed")
        opened.load()
        return with_stored_bytes(as_rgb(upright(opened)), raw)
