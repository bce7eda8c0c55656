"""Images on their way out: read, resized by policy, base64 encoded, once per image and never on the event loop's thread."""

from __future__ import annotations

import asyncio
import hashlib
import io
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import pybase64

from millrace.llm import ImagePart
from millrace.llm.failures import CallFailed
from millrace.llm.settings import ImagePolicy

if TYPE_CHECKING:
    from PIL import Image

SENT_AS_THEY_ARE = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
"""What chat servers take (Pillow's names; MPO is a camera's JPEG with a second picture behind it); others are encoded anew."""

READ_ALIKE = frozenset({"1", "L", "P", "RGB"})
"""Modes that every decoder turns into the same pixels. Others (alpha, 16 bits, CMYK) differ from server to server."""

LOSSLESS = frozenset({"PNG", "BMP", "GIF", "TIFF", "PPM"})
"""Encoded anew as PNG while that is small enough; the rest becomes JPEG."""

ORIENTATION = 0x0112
"""The EXIF tag that says how a picture is turned; 1 is upright."""

MAX_PIXELS = 200_000_000
"""A header that promises more is not opened: 200 megapixels are 600 MB of memory."""

KEPT_BYTES = 64 * 1024 * 1024
"""Encoded images kept for the next question about the same image."""


class EncodedImage(msgspec.Struct, frozen=True):
    """An image as it is sent: base64 for servers that want the bytes, or the URL of one they fetch themselves."""

    media_type: str
    base64: bytes = b""
    url: str | None = None


class ImageEncoder:
    """Turns image parts into what is sent, in a few threads, keeping the most recent ones.

    Covers: JPEG, PNG, WebP and GIF within the policy's limits go out byte for byte, where every decoder sees the same in them;
    others are turned upright (EXIF), laid on white, brought to 8 bits (the first picture of an animation), scaled and encoded,
    so that all models are shown the same picture. Several requests that need the same image at once share one encoding.
    """

    def __init__(self, policy: ImagePolicy, *, threads: int = 2) -> None:
        self.policy = policy
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="images")
        self._kept: OrderedDict[str, EncodedImage] = OrderedDict()
        self._kept_bytes = 0
        self._coming: dict[str, asyncio.Future[EncodedImage]] = {}
        self._identities: dict[int, tuple[weakref.ref[ImagePart], str]] = {}
        self.encoded = 0
        """Images encoded so far (not those found among the kept ones)."""

    async def identify(self, image: ImagePart) -> str:
        """What stands for the image in the content key: the SHA-256 of its bytes, or its URL.

        Raises:
            CallFailed: the file cannot be read.
        """
        if image.url is not None:
            return image.url
        known = self._identities.get(id(image))
        if known is not None:
            return known[1]
        name = await asyncio.get_running_loop().run_in_executor(self._threads, _digest_of, image)
        number = id(image)
        self._identities[number] = (weakref.ref(image, lambda _: self._identities.pop(number, None)), name)
        return name

    async def encode(self, image: ImagePart, identity: str) -> EncodedImage:
        """The image as it is sent.

        Raises:
            CallFailed: not an image, or too large for the policy.
        """
        if image.url is not None:
            return EncodedImage("", url=image.url)
        kept = self._kept.get(identity)
        if kept is not None:
            self._kept.move_to_end(identity)
            return kept
        coming = self._coming.get(identity)
        if coming is None:
            loop = asyncio.get_running_loop()
            coming = self._coming[identity] = asyncio.ensure_future(
                loop.run_in_executor(self._threads, encode_image, image, self.policy)
            )
            coming.add_done_callback(lambda done: self._keep(identity, done))
        return await asyncio.shield(coming)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _keep(self, identity: str, done: asyncio.Future[EncodedImage]) -> None:
        del self._coming[identity]
        if done.cancelled() or done.exception() is not None:
            return
        image = done.result()
        self.encoded += 1
        self._kept[identity] = image
        self._kept_bytes += len(image.base64)
        while self._kept_bytes > KEPT_BYTES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.base64)


def encode_image(image: ImagePart, policy: ImagePolicy) -> EncodedImage:
    """Read, check, resize if the policy asks for it, and encode one image (runs in a thread).

    Raises:
        CallFailed: `unreadable_image`, `not_an_image`, `image_too_large`.
    """
    data = _bytes_of(image)
    header = _look_at(data)
    longest = policy.longest_side
    fits = longest is None or max(header.width, header.height) <= longest
    if header.kind in SENT_AS_THEY_ARE and header.plain and fits and len(data) <= policy.max_bytes:
        return EncodedImage(SENT_AS_THEY_ARE[header.kind], pybase64.b64encode(data))
    data, media_type = _remake(data, header.kind, policy)
    return EncodedImage(media_type, pybase64.b64encode(data))


class _Header(NamedTuple):
    kind: str
    width: int
    height: int
    plain: bool
    """One upright picture of 8 bits without transparency."""


def _digest_of(image: ImagePart) -> str:
    return hashlib.sha256(_bytes_of(image)).hexdigest()


def _bytes_of(image: ImagePart) -> bytes:
    if image.data is not None:
        return image.data
    assert image.path is not None
    try:
        return Path(image.path).read_bytes()
    except OSError as error:
        raise CallFailed("unreadable_image", f"{image.path}: {error.strerror or error}", attempts=0) from error


def _look_at(data: bytes) -> _Header:
    """Format, size and form from the header; no pixel is decoded."""
    from PIL import Image

    from millrace.pixels import known_formats

    try:
        with Image.open(io.BytesIO(data), formats=known_formats()) as opened:
            kind, (width, height) = opened.format or "", opened.size
            if width * height > MAX_PIXELS:
                raise CallFailed("image_too_large", f"{width} x {height} pixels; the limit is {MAX_PIXELS:,}", attempts=0)
            return _Header(kind, width, height, _is_plain(opened, data))
    except CallFailed:
        raise
    except Exception as error:  # a broken image makes a decoder raise anything at all; here it becomes the item's failure
        raise CallFailed("not_an_image", f"{len(data)} bytes that are no image: {error}", attempts=0) from error


def _is_plain(opened: Image.Image, data: bytes) -> bool:
    if opened.mode not in READ_ALIKE or "transparency" in opened.info:
        return False
    if opened.format == "PNG" and data[24:25] == b"\x10":  # 16 bits per colour, of which Pillow shows the upper eight
        return False
    if opened.format != "MPO" and getattr(opened, "n_frames", 1) != 1:
        return False
    return bool(opened.getexif().get(ORIENTATION, 1) == 1)


def _remake(data: bytes, kind: str, policy: ImagePolicy) -> tuple[bytes, str]:
    """Scale and encode; drawings stay PNG as long as that is small enough, photos become JPEG."""
    from PIL import Image

    from millrace.pixels import as_rgb, known_formats, upright

    try:
        with Image.open(io.BytesIO(data), formats=known_formats()) as opened:
            opened.load()
            picture = as_rgb(upright(opened))
    except Exception as error:  # as above
        raise CallFailed("not_an_image", f"the {kind} image is damaged: {error}", attempts=0) from error
    if policy.longest_side is not None:
        picture.thumbnail((policy.longest_side, policy.longest_side), Image.Resampling.LANCZOS)
    if kind in LOSSLESS:
        made = _saved(picture, "PNG", 0)
        if len(made) <= policy.max_bytes:
            return made, "image/png"
    quality = policy.jpeg_quality
    while True:
        made = _saved(picture, "JPEG", quality)
        if len(made) <= policy.max_bytes:
            return made, "image/jpeg"
        if quality > 60:
            quality -= 15
            continue
        if max(picture.size) <= 64:
            raise CallFailed("image_too_large", f"not below {policy.max_bytes} bytes even at 64 pixels", attempts=0)
        picture.thumbnail((max(1, picture.width * 3 // 4), max(1, picture.height * 3 // 4)), Image.Resampling.LANCZOS)


def _saved(picture: object, kind: str, quality: int) -> bytes:
    out = io.BytesIO()
    options = {"quality": quality} if kind == "JPEG" else {}
    picture.save(out, format=kind, **options)  # type: ignore[attr-defined]
    return out.getvalue()
