"""Paid once: every reply is in a journal before it is used, under a key made from what was asked.

A run that is started again finds the answers it has paid for and asks only for the rest; a SIGKILL costs the calls in flight
and no more. The stored reply is what the model wrote; parsing and checking happen on every use, so a changed parser needs no
new calls.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from millrace.llm import ImagePart, Reply, Request, ToolCall
from millrace.llm.store.locations import Locations
from millrace.llm.store.segments import SegmentWriter, checked, read_segment

VERSION = "millrace.reply/1"
"""Part of every key: a change of what a stored reply means makes all older ones unfindable instead of wrong."""

OPEN_FILES = 64
_OFFSET_BITS = 44
_KEY_DIGITS = 32

_encoder = msgspec.msgpack.Encoder(order="deterministic", enc_hook=None)
_decoder = msgspec.json.Decoder(Reply)


def content_key(where: Sequence[object], request: Request, image_names: Sequence[str]) -> bytes:
    """The 16 bytes a request is known by: 32 hex digits in the journal.

    Args:
        where: what else decides the answer: provider, model, image policy, fields added to the body.
        request: everything in it counts except `stage` and `timeout_s`.
        image_names: per image the hash of its bytes, or its URL.
    """
    names = iter(image_names)
    messages = [
        (
            message.role,
            [[next(names)] if isinstance(part, ImagePart) else part for part in message.parts],
            [_call(call) for call in message.tool_calls],
            message.tool_call_id,
            message.tool_name,
            *([message.attached] if message.attached else ()),
        )
        for message in request.messages
    ]
    asked = (
        VERSION,
        where,
        messages,
        request.tools,
        request.tool_choice if request.tools else "",
        request.schema,
        request.temperature,
        request.top_p,
        request.max_tokens,
        request.stop,
        request.seed,
        request.extra,
        request.sample,
    )
    return hashlib.blake2b(_encoder.encode(asked), digest_size=_KEY_DIGITS // 2).digest()


class _PlainCall(msgspec.Struct, frozen=True):
    """A call as it was part of keys before servers attached anything to it."""

    id: str
    name: str
    arguments: dict[str, Any]
    invalid: str | None


def _call(call: ToolCall) -> object:
    return call if call.attached else _PlainCall(call.id, call.name, call.arguments, call.invalid)


class PaidReplies:
    """The journal of paid replies in one folder, shared by any number of processes.

    Covers: see `segments.py`. Each process writes its own file and sees what others wrote up to the last `refresh`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damaged = 0
        """Lines that could not be read; their calls are made again."""
        self._table = Locations()
        self._paths: list[Path] = []
        self._read_to: dict[Path, int] = {}
        self._open: OrderedDict[Path, int] = OrderedDict()
        self._writer = SegmentWriter(folder, "replies")
        self._own = self._number_of(self._writer.path)
        self.refresh()

    def __len__(self) -> int:
        return len(self._table)

    def refresh(self) -> None:
        """Take in what other processes have written since the last look."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("replies-*.log")):
            if path == self._writer.path:
                continue
            number = self._number_of(path)
            start = end = self._read_to.get(path, 0)
            if path.stat().st_size <= start:
                continue
            for offset, end, payload in read_segment(path, start):  # noqa: B007 - the last end is where to go on
                if payload is None:
                    self.damaged += 1
                    continue
                self._table.put(_short(bytes.fromhex(payload[:_KEY_DIGITS].decode("ascii"))), number << _OFFSET_BITS | offset)
            self._read_to[path] = end

    def find(self, key: bytes) -> Reply | None:
        """The reply paid for under `key`; None when there is none."""
        location = self._table.get(_short(key))
        if location is None:
            return None
        path = self._paths[location >> _OFFSET_BITS]
        line = self._line_at(path, location & (1 << _OFFSET_BITS) - 1)
        payload = checked(line)
        if payload is None or payload[:_KEY_DIGITS] != key.hex().encode("ascii"):
            return None
        return _decoder.decode(payload[_KEY_DIGITS:])

    async def add(self, key: bytes, reply: Reply) -> None:
        """Write a reply down; returns when it would survive the end of this process.

        Raises:
            RunFailed: it cannot be written.
        """
        offset, written = self._writer.append(key.hex().encode("ascii") + msgspec.json.encode(reply))
        place = self._own << _OFFSET_BITS | offset
        written.add_done_callback(lambda done: self._know(key, place) if done.exception() is None else None)
        await asyncio.shield(written)  # it is written also when its caller has stopped waiting

    def _know(self, key: bytes, place: int) -> None:
        self._table.put(_short(key), place)

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
        for handle in self._open.values():
            os.close(handle)
        self._open.clear()

    def _number_of(self, path: Path) -> int:
        if path not in self._read_to:
            self._read_to[path] = 0
            self._paths.append(path)
        return self._paths.index(path)

    def _line_at(self, path: Path, offset: int) -> bytes:
        handle = self._open.get(path)
        if handle is None:
            handle = self._open[path] = os.open(path, os.O_RDONLY)
            if len(self._open) > OPEN_FILES:
                _, oldest = self._open.popitem(last=False)
                os.close(oldest)
        else:
            self._open.move_to_end(path)
        size = 4096
        while True:
            data = os.pread(handle, size, offset)
            end = data.find(b"\n")
            if end >= 0 or len(data) < size:
                return data[: end + 1]
            size *= 8


def _short(key: bytes) -> int:
    return int.from_bytes(key[:8], "big")
