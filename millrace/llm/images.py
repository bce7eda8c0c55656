"""Images on their way out: read, resized by policy, base64 encoded, once per image and never on the event loop's thread."""

from __future__ import annotations

import asyncio
import hashlib
import io
import weakref
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pybase64

from millrace.llm import ImagePart
from millrace.llm.failures import CallFailed
from millrace.llm.settings import ImagePolicy

SENT_AS_THEY_ARE = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
"""What chat servers take (Pillow's names); anything else is encoded anew."""

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

    Covers: JPEG, PNG, WebP and GIF within the policy's limits go out byte for byte; others are turned upright (EXIF), scaled and
    encoded. Several requests that need the same image at once share one encoding.
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
    kind, width, height = _look_at(data)
    longest = policy.longest_side
    fits = longest is None or max(width, height) <= longest
    if kind in SENT_AS_THEY_ARE and fits and len(data) <= policy.max_bytes:
        return EncodedImage(SENT_AS_THEY_ARE[kind], pybase64.b64encode(data))
    data, media_type = _remake(data, kind, policy)
    return EncodedImage(media_type, pybase64.b64encode(data))


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


def _look_at(data: bytes) -> tuple[str, int, int]:
    """Format, width and height from the header; no pixel is decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            kind, (width, height) = opened.format or "", opened.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CallFailed("not_an_image", f"{len(data)} bytes that are no image: {error}", attempts=0) from error
    if width * height > MAX_PIXELS:
        raise CallFailed("image_too_large", f"{width} x {height} pixels; the limit is {MAX_PIXELS:,}", attempts=0)
    return kind, width, height


def _remake(data: bytes, kind: str, policy: ImagePolicy) -> tuple[bytes, str]:
    """Scale and encode; drawings stay PNG as long as that is small enough, photos become JPEG."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as opened:
            upright = ImageOps.exif_transpose(opened)
            picture = upright.convert("RGBA" if "A" in upright.getbands() else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CallFailed("not_an_image", f"the {kind} image is damaged: {error}", attempts=0) from error
    if picture.mode == "RGBA":
        paper = Image.new("RGB", picture.size, "white")
        paper.paste(picture, mask=picture.getchannel("A"))
        picture = paper
    if policy.longest_side is not None:
        picture.thumbnail((policy.longest_side, policy.longest_side), Image.Resampling.LANCZOS)
    if kind in {"PNG", "BMP", "GIF"}:
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
