"""The body of an answer: decompressed as it streams, within a limit on what it becomes and on what comes over the wire."""

from __future__ import annotations

import zlib

from millrace.synthesis.environments.web.faults import ServerFault

GZIP = b"\x1f\x8b"
"""How a member of a gzip file begins; a body may have several."""


class Unpacked:
    """Collects a body; never holds more than the limit and one piece."""

    def __init__(self, encoding: str, most: int, url: str, *, cut: bool = False) -> None:
        """
        Args:
            encoding: the header `Content-Encoding`; none or one of gzip and deflate.
            most: bytes of the body, decompressed; no more than that may come over the wire either.
            url: for the message.
            cut: keep the first `most` bytes of a longer body (`full` says so) and do not refuse it.

        Raises:
            ServerFault: the body is compressed in another way, or more than once.
        """
        self.body = bytearray()
        self.full = False
        """The limit is reached: what follows need not be read."""
        self._most, self._url, self._cut = most, url, cut
        names = [name for name in (part.strip().lower() for part in encoding.split(",")) if name not in ("", "identity")]
        if len(names) > 1 or (names and names[0] not in ("gzip", "x-gzip", "deflate")):
            raise ServerFault(f"{url} is compressed as '{encoding[:60]}', which was not asked for")
        self._packed = bool(names)
        self._wire = 0
        self._first = b""
        """What came before anything was decompressed: deflate without its header shows only then."""
        self._behind = b""
        """What came behind the end of a member."""
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._raw_tried = False

    def add(self, part: bytes) -> None:
        """One piece as it came.

        Raises:
            ServerFault: the body is longer than the limit, or damaged.
        """
        self._wire += len(part)
        if not self._packed:
            self._take(part)
            return
        if self._wire > self._most and not self.full:  # empty blocks decompress to nothing, for ever
            self._over()
        try:
            while part and not self.full:
                if self._inflate.eof:
                    self._behind = part = self._behind + part
                    if len(part) < len(GZIP) or not part.startswith(GZIP):
                        break  # what is no other member is no part of the body
                    self._behind = b""
                    self._inflate, self._raw_tried = zlib.decompressobj(zlib.MAX_WBITS | 32), True
                self._take(self._inflated(part))
                part = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
        except zlib.error as error:
            raise ServerFault(f"{self._url} cannot be decompressed: {error}") from error

    def whole(self) -> bytes:
        """The body, when all pieces are added.

        Raises:
            ServerFault: it ends in the middle of what was compressed.
        """
        if self._packed and self._wire and not self.full and not self._inflate.eof:
            raise ServerFault(f"{self._url} ends in the middle of its compressed body")
        return bytes(self.body)

    def _inflated(self, part: bytes) -> bytes:
        room = self._most - len(self.body) + 1
        if not self.body and not self._raw_tried:
            self._first += part
        try:
            return self._inflate.decompress(part, room)
        except zlib.error:
            if self.body or self._raw_tried:
                raise
            self._raw_tried = True  # some servers send deflate without its header
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            return self._inflate.decompress(self._first, room)

    def _take(self, piece: bytes) -> None:
        self.body += piece
        if len(self.body) > self._most:
            self._over()

    def _over(self) -> None:
        if not self._cut:
            raise ServerFault(f"{self._url} is longer than {self._most} bytes")
        del self.body[self._most :]
        self.full = True
