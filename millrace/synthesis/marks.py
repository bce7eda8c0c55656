"""Takes marks out of text from outside, however they are spelled: what stands between marks must not be able to close them.

Covers: any case and width (`［/data］`), spaces, invisible and combining characters between the letters, characters that look
like Latin ones, HTML, URL and JSON escapes (`&#91;`, `%5B`, `\\u005b`), escapes of escapes. A mark becomes `…`, so what stood
around it cannot come together and form another. Does not cover: a model that is told in plain words to ignore its marks.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

ESCAPE = re.compile(
    r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]\w{1,30});?|%u[0-9a-f]{4}|%[0-9a-f]{2}|\\u\{[0-9a-f]{1,6}\}|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}",
    re.IGNORECASE,
)
ALIKE = str.maketrans("аᎪαтτԁᗞ｢｣〔〕【】⟦⟧❲❳⁅⁆⧸⁄∕╱‹›〈〉《》«»≪≫", "aaattdd[][][][][][]////<><><><><>")
"""Characters that are read as another one, and are no compatibility form of it; in lower case."""

INVISIBLE = {"Cf", "Cc", "Mn", "Me", "Zs", "Zl", "Zp"}
"""Unicode categories that leave no mark of their own on the line: formats, controls, combining marks, spaces."""

FILLERS = "\u115f\u1160\u2800\u3164\uffa0\\"
"""Characters of other categories that show nothing; and the backslash, which escapes the next one."""

MAX_LEVELS = 4
"""Escapes within escapes that are followed: `&amp;amp;#91;` has three levels."""

Letter = tuple[str, int, int]
"""What is read, and from where to where it stands in the text."""


def without_marks(text: str, mark: re.Pattern[str]) -> str:
    """The text with `…` in the place of everything that spells a mark.

    Args:
        text: from outside.
        mark: matches a mark in lower-case letters without spaces.
    """
    read: list[Letter] = [(letter, place, place + 1) for place, letter in enumerate(text)]
    for _ in range(MAX_LEVELS):
        unescaped = _unescaped(read)
        if unescaped == read:
            break
        read = unescaped
    letters = [(letter, start, end) for said, start, end in read for letter in _as_read(said)]
    parts, done = [], 0
    for found in mark.finditer("".join(letter for letter, _, _ in letters)):
        first, last = letters[found.start()], letters[found.end() - 1]
        parts += [text[done : first[1]], "…"]
        done = last[2]
    return "".join([*parts, text[done:]]) if parts else text


def _unescaped(read: list[Letter]) -> list[Letter]:
    """The letters with each escape as the one letter that it stands for."""
    said: list[Letter] = []
    done = 0
    for found in ESCAPE.finditer("".join(letter for letter, _, _ in read)):
        plain = _plain(found[0])
        if plain != found[0]:
            said += [*read[done : found.start()], (plain, read[found.start()][1], read[found.end() - 1][2])]
            done = found.end()
    return [*said, *read[done:]]


def _plain(escape: str) -> str:
    """What an escape stands for, as one character; itself where it stands for none."""
    try:
        plain = html.unescape(escape) if escape.startswith("&") else chr(int(escape.lstrip("%\\uUxX{").rstrip("}"), 16))
    except (ValueError, OverflowError):
        return escape
    return plain if len(plain) == 1 else escape


@lru_cache(maxsize=4096)
def _as_read(letter: str) -> str:
    """A character in the plain lower-case letters that a reader takes it for; empty for one that is not seen."""
    folded = unicodedata.normalize("NFKD", letter).casefold().translate(ALIKE)
    return "".join(part for part in folded if unicodedata.category(part) not in INVISIBLE and part not in FILLERS)
