"""A corpus as its verifier reads it: raw text cut and searched character by character, in every way that a reader may.

Imported by the verifier alone; the planner and the tools have regular expressions of their own.
"""

from __future__ import annotations

ENDINGS = ("Error", "Exception", "Warning", "Iteration", "Interrupt")
OTHER_EXCEPTIONS = ("GeneratorExit", "SystemExit", "ExceptionGroup", "BaseExceptionGroup")
"""Exceptions whose names have another ending; a reader who knows Python may count them."""

BUILTINS = frozenset(
    [
        "abs",
        "aiter",
        "all",
        "anext",
        "any",
        "ascii",
        "bin",
        "bool",
        "breakpoint",
        "bytearray",
        "bytes",
        "callable",
        "chr",
        "classmethod",
        "compile",
        "complex",
        "delattr",
        "dict",
        "dir",
        "divmod",
        "enumerate",
        "eval",
        "exec",
        "filter",
        "float",
        "format",
        "frozenset",
        "getattr",
        "globals",
        "hasattr",
        "hash",
        "help",
        "hex",
        "id",
        "input",
        "int",
        "isinstance",
        "issubclass",
        "iter",
        "len",
        "list",
        "locals",
        "map",
        "max",
        "memoryview",
        "min",
        "next",
        "object",
        "oct",
        "open",
        "ord",
        "pow",
        "print",
        "property",
        "range",
        "repr",
        "reversed",
        "round",
        "set",
        "setattr",
        "slice",
        "sorted",
        "staticmethod",
        "str",
        "sum",
        "super",
        "tuple",
        "type",
        "vars",
        "zip",
    ]
)
TYPES = ("exception", "special", "builtin", "pep", "version", "name", "year", "title")

READINGS = {
    "as stated": "as the question states it",
    "each paragraph once": "a paragraph that is repeated counts once",
    "names alone": "what stands behind a dot belongs to a longer name",
    "other forms": "forms beside the stated ones count too",
    "no labels": "the bare words Error and Warning are no exceptions",
}
"""Ways to read a question: the first is the one that it states, the others are what a reader may do all the same."""


def joins(c: str) -> bool:
    """Whether a character goes on with a word beside it; Chinese and Japanese are written without gaps, so theirs do not."""
    return (c.isalnum() or c == "_") and not ("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff")


def tokens(text: str) -> list[tuple[str, int]]:
    """(word, where it starts): runs of letters, digits and underscores."""
    found, start = [], -1
    for place, c in enumerate(text + " "):
        inside = joins(c)
        if inside and start < 0:
            start = place
        elif not inside and start >= 0:
            found.append((text[start:place], start))
            start = -1
    return found


def terms_by_reading(text: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """Way of reading → (type, term) of everything in a text; the text is cut into words once for all of them."""
    words = tokens(text)
    found = {reading: _terms(text, words, reading) for reading in READINGS if reading != "each paragraph once"}
    return found | {"each paragraph once": found["as stated"]}  # it differs in the paragraphs, not in the words


def terms(text: str, reading: str) -> tuple[tuple[str, str], ...]:
    """(type, term) of everything in a text, in order within each type."""
    return _terms(text, tokens(text), reading)


def _terms(text: str, words: list[tuple[str, int]], reading: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    wide = reading == "other forms"
    for number, (word, start) in enumerate(words):
        if reading == "names alone" and start > 1 and text[start - 1] == "." and joins(text[start - 2]):
            continue
        if _is_exception(word, reading):
            found.append(("exception", word))
        if _is_special(word, wide=wide):
            found.append(("special", word))
        if word in BUILTINS and text[start + len(word) :].startswith("()"):
            found.append(("builtin", word + "()"))
        found += _pep(text, words, number, wide=wide)
        found += _version(text, words, number, wide=wide)
        if len(word) == 4 and word.isdecimal() and word.isascii() and (word[0] == "1" or word[:2] == "20"):
            after = text[start + 4 : start + 6]
            if not (after[:1] == "." and after[1:].isdecimal()):
                found.append(("year", word))
    return tuple(found + _names(text, words, wide=wide) + _titles(text))


def _is_exception(word: str, reading: str) -> bool:
    if reading == "no labels" and word in ("Error", "Warning"):
        return False
    if reading == "other forms" and word in OTHER_EXCEPTIONS:
        return True
    return word.endswith(ENDINGS) and word[0].isupper() and word.isalpha() and word.isascii()


def _is_special(word: str, *, wide: bool) -> bool:
    inner = word[2:-2]
    if len(inner) < 2 or not word[:2] == word[-2:] == "__" or inner[0] == "_" or inner[-1] == "_":
        return False
    return wide or all(c == "_" or "a" <= c <= "z" for c in inner)


def _pep(text: str, words: list[tuple[str, int]], number: int, *, wide: bool) -> list[tuple[str, str]]:
    word, start = words[number]
    if wide and word[:3] == "PEP" and word[3:].isdecimal():
        return [("pep", f"PEP {word[3:]}")]
    if not number or not word.isdecimal():
        return []
    before, where = words[number - 1]
    gap = text[where + len(before) : start]
    stated = before == "PEP" and gap == " "
    return [("pep", f"PEP {word}")] if stated or (wide and before.upper() in ("PEP", "PEPS") and gap in (" ", "-")) else []


def _version(text: str, words: list[tuple[str, int]], number: int, *, wide: bool) -> list[tuple[str, str]]:
    """A version number that begins with this word; the wide form may have more parts, and stand behind other words."""
    word, start = words[number]
    end = start + len(word)
    if not word.isdecimal() or text[end : end + 1] != "." or number + 1 == len(words) or words[number + 1][1] != end + 1:
        return []
    minor = words[number + 1][0]
    if not minor.isdecimal():
        return []
    after = text[end + 1 + len(minor) : end + 3 + len(minor)]
    longer = after[:1] == "." and after[1:2].isdecimal()
    if wide and text[:start].endswith(("version ", "versions ", "Version ", "Python ")):
        return [("version", f"{word}.{minor}{after if longer else ''}")]
    # the words "version " may be the end of a longer word: "subversion 3.1" counts too, as it is written
    return [("version", f"{word}.{minor}")] if word in ("2", "3") and text[:start].endswith("version ") and not longer else []


def _names(text: str, words: list[tuple[str, int]], *, wide: bool) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    run: list[tuple[str, int]] = []
    for word, start in [*words, ("", len(text) + 9)]:
        if wide:
            capital = len(word) > 1 and word[0].isupper() and word.isalpha()
        else:
            capital = len(word) > 1 and "A" <= word[0] <= "Z" and all("a" <= c <= "z" for c in word[1:])
        joined = bool(run) and text[run[-1][1] + len(run[-1][0]) : start] == " "
        if run and not (capital and joined):
            if len(run) > 1:
                found.append(("name", " ".join(part for part, _ in run)))
            run = []
        if capital:
            run.append((word, start))
    return found


def _titles(text: str) -> list[tuple[str, str]]:
    found, begin = [], text.find("《")
    while begin >= 0:
        end = text.find("》", begin)
        inner = text[begin + 1 : end]
        if end > 0 and 0 < len(inner) <= 30 and "《" not in inner and not any(c.isspace() for c in inner):
            found.append(("title", f"《{inner}》"))
        begin = text.find("《", begin + 1)
    return found


def stands_in(text: str, term: str, *, after_dot: bool = True) -> int:
    """Where a term stands in a text as a whole; -1: nowhere."""
    place = text.find(term)
    while place >= 0:
        before, after = text[place - 1 : place] if place else "", text[place + len(term) : place + len(term) + 2]
        inside = bool(before) and (joins(before) or (not after_dot and before == "." and place > 1 and joins(text[place - 2])))
        goes_on = bool(after) and (joins(after[0]) or (after[0] == "." and after[1:].isdecimal()))
        if not inside and not goes_on:
            return place
        place = text.find(term, place + 1)
    return -1


def paragraphs_of(raw: str) -> list[str]:
    """The blocks of lines between lines without text, each with single spaces in place of its white space."""
    found: list[str] = []
    lines: list[str] = []
    for line in [*raw.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            found.append(" ".join(" ".join(lines).split()))
            lines = []
    return found
