"""Looks through a pickle for what would make the unpickler take memory without end, before it is unpickled.

The C unpickler keeps its memo in an array that it makes as long as the largest index says, so nine bytes of a damaged or hostile
file can cost gigabytes. A real pickle numbers its memo from 0 on, so no index exceeds the number of its bytes.
"""

from __future__ import annotations

import pickletools
import re

_PUT, _LONG_BINPUT, _STOP = b"p"[0], b"r"[0], b"."[0]
_COUNTED = {  # opcode's argument → bytes of the count that precedes the data
    "string1": 1, "string4": 4, "bytes1": 1, "bytes4": 4, "bytes8": 8, "bytearray8": 8, "unicodestring1": 1,
    "unicodestring4": 4, "unicodestring8": 8, "long1": 1, "long4": 4,
}  # fmt: skip


def _tables() -> tuple[re.Pattern[bytes], dict[int, int], dict[int, int]]:
    """What to skip at once, the counted opcodes (bytes of the count), and those whose arguments are lines (how many)."""
    fixed: dict[int, list[bytes]] = {}
    counted: dict[int, int] = {}
    lines: dict[int, int] = {}
    for opcode in pickletools.opcodes:
        code, argument = ord(opcode.code), opcode.arg
        if code in (_LONG_BINPUT, _STOP):
            continue
        if argument is None:
            fixed.setdefault(0, []).append(re.escape(bytes([code])))
        elif argument.n >= 0:
            fixed.setdefault(argument.n, []).append(re.escape(bytes([code])))
        elif argument.n == pickletools.UP_TO_NEWLINE:
            lines[code] = 2 if argument.name == "stringnl_noescape_pair" else 1
        else:
            counted[code] = _COUNTED[argument.name]
    kinds = [b"[" + b"".join(codes) + b"]" + b"." * nbytes for nbytes, codes in sorted(fixed.items())]
    return re.compile(b"(?:" + b"|".join(kinds) + b")*+", re.DOTALL), counted, lines


_FIXED, _COUNTS, _LINES = _tables()


def excess_in(data: bytes) -> str | None:
    """What in the first pickle of `data` would take memory out of proportion; None where nothing does.

    Says nothing of a pickle that is cut short or malformed from some point on: the unpickler fails there by itself.
    """
    place, end = 0, len(data)
    while True:
        found = _FIXED.match(data, place)
        assert found is not None
        place = found.end()
        if place >= end:
            return None
        code = data[place]
        if code in _COUNTS:
            width = _COUNTS[code]
            count = int.from_bytes(data[place + 1 : place + 1 + width], "little")
            if count > end:
                return f"{count} bytes are said to follow byte {place}"
            place += 1 + width + count
        elif code == _LONG_BINPUT or code in _LINES:
            begin = place + 1
            if code == _LONG_BINPUT:
                index, place = int.from_bytes(data[begin : begin + 4], "little"), begin + 4
            else:
                for _ in range(_LINES[code]):
                    place = data.find(b"\n", place) + 1
                    if place == 0:
                        return None
                text = data[begin : place - 1]
                if code == _PUT and not (text.isdigit() and len(text) < 20):
                    return f"a memo index that no pickler writes at byte {begin - 1}"  # int() reads more than picklers write
                index = int(text) if code == _PUT else 0
            if index > end:
                return f"memo index {index} at byte {begin - 1}"
        else:
            return None  # STOP, or no opcode at all
