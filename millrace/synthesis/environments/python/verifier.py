"""Checks chains of Python values with reference implementations that avoid the library calls under test.

Where the tool slices, this walks; where it calls `zlib`, `base64`, `datetime` or `ipaddress`, this computes bits, sextets,
days and
bytes itself; where it sorts, this inserts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Unprovable, Value, Verifier


def inserted(items: Iterable[Any], before: Callable[[Any, Any], bool]) -> list[Any]:
    """The items in order, by insertion; `before(a, b)` says that a belongs before b."""
    done: list[Any] = []
    for item in items:
        place = len(done)
        while place and before(item, done[place - 1]):
            place -= 1
        done.insert(place, item)
    return done


def _split(v: str) -> list[str]:
    words, word = [], ""
    for c in v + " ":
        if c == " ":
            words += [word] if word else []
            word = ""
        else:
            word += c
    return words


def _distinct(v: str) -> list[str]:
    found: list[str] = []
    for c in v:
        if c != " " and c not in found:
            found.append(c)
    return inserted(found, lambda a, b: ord(a) < ord(b))


def _pieces(v: str, k: int) -> list[str]:
    pieces: list[str] = []
    for place, c in enumerate(v):
        if place % k == 0:
            pieces.append("")
        pieces[-1] += c
    return pieces


def _backwards(v: str) -> str:
    text = ""
    for c in v:
        text = c + text
    return text


def _swap_case(v: str) -> str:
    text = ""
    for c in v:
        number = ord(c)
        if number > 127 and c.lower() != c.upper():
            raise Unprovable(f"the case of '{c}' is not simple arithmetic")
        if 65 <= number <= 90:
            number += 32
        elif 97 <= number <= 122:
            number -= 32
        text += chr(number)
    return text


def _shift(v: str, k: int) -> str:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    ring = alphabet + alphabet
    return "".join(ring[alphabet.find(c) + k] if c in alphabet else c for c in v)


def utf8(v: str) -> list[int]:
    """The UTF-8 bytes of a text, by the bits."""
    found: list[int] = []
    for c in v:
        n = ord(c)
        if n < 0x80:
            found.append(n)
        elif n < 0x800:
            found += [0xC0 | n >> 6, 0x80 | n & 0x3F]
        elif n < 0x10000:
            found += [0xE0 | n >> 12, 0x80 | n >> 6 & 0x3F, 0x80 | n & 0x3F]
        else:
            found += [0xF0 | n >> 18, 0x80 | n >> 12 & 0x3F, 0x80 | n >> 6 & 0x3F, 0x80 | n & 0x3F]
    return found


def _base64(v: str, k: int) -> str:
    signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    data = utf8("".join(c for place, c in enumerate(v) if place < k))
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 6)
    text = "".join(signs[int(bits[i : i + 6], 2)] for i in range(0, len(bits), 6))
    return text + "=" * (-len(text) % 4)


def _hex(v: str, k: int) -> str:
    digits = "0123456789abcdef"
    return "".join(digits[byte >> 4] + digits[byte & 15] for place, byte in enumerate(utf8(v)) if place < k)


def crc32(v: str) -> int:
    """CRC-32 bit by bit (polynomial 0xEDB88320)."""
    crc = 0xFFFFFFFF
    for byte in utf8(v):
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xEDB88320 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def _adler32(v: str) -> int:
    low, high = 1, 0
    for byte in utf8(v):
        low = (low + byte) % 65521
        high = (high + low) % 65521
    return high << 16 | low


def _once(v: list[str]) -> list[str]:
    return inserted((w for place, w in enumerate(v) if w not in v[:place] and w not in v[place + 1 :]), lambda a, b: a < b)


def _running(v: list[int]) -> list[int]:
    return [sum(v[: place + 1]) for place in range(len(v))]


def _polynomial(v: list[int], k: int, m: int) -> int:
    total: int = 7 * k ** len(v) + sum(n * k ** (len(v) - place) for place, n in enumerate(v, 1))
    return total % m


def _date(v: int, m: int) -> str:
    days, year = v - v // m * m, 2000
    while True:
        leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if days < 365 + leap:
            break
        days -= 365 + leap
        year += 1
    month = 1
    for length in (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31):
        if days < length:
            break
        days -= length
        month += 1
    return f"{year}-{month:02}-{days + 1:02}"


def _address(v: int, k: int) -> str:
    number = v * k & 0xFFFFFFFF
    return f"{number >> 24 & 255}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _hexadecimal(v: int, k: int) -> str:
    number, text = v * k, ""
    while number:
        number, digit = divmod(number, 16)
        text = "0123456789abcdef"[digit] + text
    return text


def _reverse_digits(v: int) -> int:
    result = 0
    while v:
        v, digit = divmod(v, 10)
        result = result * 10 + digit
    return result


def _shorter(a: str, b: str) -> bool:
    return len(a) < len(b) or (len(a) == len(b) and a < b)


COMPUTE: dict[str, Callable[..., Value]] = {
    "split_words": _split,
    "distinct_characters": _distinct,
    "pieces": _pieces,
    "reverse_text": _backwards,
    "swap_case": _swap_case,
    "every_kth": lambda v, k: "".join(c for place, c in enumerate(v) if place % k == 0),
    "rotate_text": lambda v, k: "".join(v[(place + k) % len(v)] for place in range(len(v))),
    "shift_letters": _shift,
    "drop_vowels": lambda v: "".join("" if chr(ord(c) | 32) in "aeiou" and c.isascii() else c for c in v),
    "base64_text": _base64,
    "hex_bytes": _hex,
    "sum_of_code_points": lambda v: sum(ord(c) for c in v),
    "checksum_crc32": crc32,
    "checksum_adler32": _adler32,
    "byte_length": lambda v, k: k * len(utf8(v)),
    "sort_by_length": lambda v: inserted(v, _shorter),
    "occurring_once": _once,
    "longer_than": lambda v, k: list(filter(lambda w: len(w) >= k + 1, v)),
    "reverse_each": lambda v: list(map(_backwards, v)),
    "every_other": lambda v: [w for place, w in enumerate(v) if place & 1 == 0],
    "rotate_words": lambda v, k: [v[(place + k) % len(v)] for place in range(len(v))],
    "word_lengths": lambda v: [sum(1 for _ in w) for w in v],
    "word_checksums": lambda v, m: [crc32(w) % m for w in v],
    "word_sums": lambda v: [sum(ord(c) for c in w) for w in v],
    "initials": lambda v: "".join(next(iter(w)) for w in v),
    "last_characters": lambda v: "".join(list(w).pop() for w in v),
    "join_with": lambda v, sep: "".join(w if place == 0 else sep + w for place, w in enumerate(v)),
    "nth_entry": lambda v, k: next(w for place, w in enumerate(v) if place == k),
    "sort_descending": lambda v: inserted(v, lambda a, b: a > b),
    "running_sums": _running,
    "differences": lambda v: [v[place] - v[place - 1] for place in range(1, len(v))],
    "residues": lambda v, k, m: [n * k - n * k // m * m for n in v],
    "largest_k": lambda v, k: inserted(v, lambda a, b: a > b)[:k],
    "weighted_sum": lambda v: sum(sum(v[place:]) for place in range(len(v))),
    "lower_median": lambda v: inserted(v, lambda a, b: a < b)[(len(v) - 1) // 2],
    "spread": lambda v: inserted(v, lambda a, b: a < b)[-1] - inserted(v, lambda a, b: a < b)[0],
    "polynomial_hash": _polynomial,
    "sum_of_squares": lambda v, m: sum(n**2 % m for n in v) % m,
    "reverse_digits": _reverse_digits,
    "scaled_modulo": lambda v, k, m: v * k - v * k // m * m,
    "as_date": _date,
    "as_address": _address,
    "in_hexadecimal": _hexadecimal,
}
"""Operator → its value from the input and the constants."""

KINDS = {str: "text", int: "integer"}


class PythonVerifier(Verifier):
    """Recomputes chains of Python values."""

    name = "python/reference@1"

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The start is a text that the question states."""
        if start["kind"] != "text" or not isinstance(start["value"], str):
            raise Unprovable("a chain of Python values starts from a text")
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """One hop, by the reference implementation."""
        if op not in COMPUTE:
            raise Unprovable(f"no second way is known for '{op}'")
        try:
            return COMPUTE[op](values[-1], **args)
        except (TypeError, ValueError, ZeroDivisionError, IndexError, StopIteration, AttributeError) as error:
            raise Unprovable(f"{op}: {error}") from error

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """The input where it is of the same kind (the hop left out), and values a little off."""
        true, before = values[-1], values[-2]
        near: list[Value]
        if isinstance(true, int):
            near = [true + 1, true + 2, abs(true - 1)]
        elif isinstance(true, str):
            near = [true[1:] + "q", true + "z", "k" + true[:-1]]
        elif true and isinstance(true[0], str):
            near = [[*true[1:], "qz"], [*true[:-1], "zz"], ["ab", *true]]
        else:
            near = [[n + 1 for n in true], [*true, 5], [3, *true[1:]]]
        same = type(before) is type(true) and (not isinstance(true, list) or not true or type(before[0]) is type(true[0]))
        return [before, *near] if same and before != true else near
