"""The body of an answer: decompressed as it streams, within a limit, and decoded by the character set that it names itself."""

from __future__ import annotations

import codecs
import re
import zlib

from millrace.synthesis.environments import ToolError

META = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{1,40})", re.IGNORECASE)
LOOKED_AT = 4_096
"""Where a page must name its character set; browsers look at the first 1,024 bytes."""

NOT_FOR_PAGES = frozenset({"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "mbcs", "oem"})
"""Codecs of Python that no page is written in, and that cost more than time in proportion."""


class Unpacked:
    """Collects a body; never holds more than the limit and one piece."""

    def __init__(self, encoding: str, most: int, url: str) -> None:
        """
        Args:
            encoding: the header `Content-Encoding`; none or one of gzip and deflate.
            most: bytes of the body, decompressed.
            url: for the message.

        Raises:
            ToolError: the body is compressed in another way, or more than once.
        """
        self.body = bytearray()
        self._most, self._url = most, url
        names = [name for name in (part.strip().lower() for part in encoding.split(",")) if name not in ("", "identity")]
        if len(names) > 1 or (names and names[0] not in ("gzip", "x-gzip", "deflate")):
            raise ToolError(f"{url} is compressed as '{encoding[:60]}', which was not asked for")
        self._packed = bool(names)
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._raw_tried = False

    def add(self, part: bytes) -> None:
        """One piece as it came.

        Raises:
            ToolError: the body is longer than the limit, or damaged.
        """
        if not self._packed:
            self._take(part)
            return
        try:
            while part and not self._inflate.eof:
                self._take(self._inflated(part))
                part = self._inflate.unconsumed_tail
        except zlib.error as error:
            raise ToolError(f"{self._url} cannot be decompressed: {error}") from error

    def _inflated(self, part: bytes) -> bytes:
        room = self._most - len(self.body) + 1
        try:
            return self._inflate.decompress(part, room)
        except zlib.error:
            if self.body or self._raw_tried:
                raise
            self._raw_tried = True  # some servers send deflate without its header
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflate.decompress(part, room)

    def _take(self, piece: bytes) -> None:
        self.body += piece
        if len(self.body) > self._most:
            raise ToolError(f"{self._url} is longer than {self._most} bytes")


def text_of(body: bytes, content_type: str, kind: str) -> str:
    """A body as text: by its byte order mark, by the header, by the page's own `<meta charset>`, else as UTF-8."""
    for mark, name in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if body.startswith(mark):
            return body.decode(name, "replace")
    named = re.search(r"charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{1,40})", content_type, re.IGNORECASE)
    said = [named[1]] if named else []
    if "html" in kind or "xml" in kind:
        said += [match[1].decode("ascii") for match in META.finditer(body[:LOOKED_AT])]
    for name in said:
        try:
            found = codecs.lookup(name)
            if found.name in NOT_FOR_PAGES or found.name.startswith("utf-16"):  # a page whose <meta> could be read is no UTF-16
                continue
            return body.decode(found.name, "replace")
        except (LookupError, ValueError):
            continue
    return body.decode("utf-8", "replace")
