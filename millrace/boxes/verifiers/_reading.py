"""What the words of a question mean, read without knowing how it was worded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from millrace.boxes.verifiers._pixels import Selector, Selectors


def phrase_of(selector: Selector) -> str:
    """`red cup`, in lower case."""
    words = [str(value) for _, value in sorted((selector.get("attributes") or {}).items())]
    return " ".join([*words, str(selector["label"])]).casefold()


def names_subject(question: str, selectors: Selectors, labels: Iterable[str]) -> bool:
    """Whether every subject is named as it was recorded, and nothing else that the picture is known to show."""
    rest = question.casefold()
    for phrase in _phrases(selectors):
        pattern = _as_words(phrase)
        if not re.search(pattern, rest):
            return False
        rest = re.sub(pattern, " ", rest)
    return not any(re.search(rf'(?:the |"){_as_words(label.casefold())}', rest) for label in labels)


def without_subject(question: str, selectors: Selectors) -> str:
    """The question in lower case without its subjects, whose labels may hold numbers or directions."""
    rest = question.casefold()
    for phrase in _phrases(selectors):
        rest = re.sub(_as_words(phrase), " ", rest)
    return rest


def one_of(said: str, phrases: Mapping[str, tuple[str, ...]]) -> str | None:
    """The only value that is said. A phrase that contains others must stand before them."""
    found = []
    for value, spellings in phrases.items():
        for spelling in spellings:
            said, count = re.subn(_as_words(spelling), " ", said)
            found += [value] * bool(count)
    return found[0] if len(set(found)) == 1 else None


def one_number(said: str) -> str | None:
    """The only whole number that is said."""
    numbers = set(re.findall(r"(?<![\w.])\d+(?![\w%]|\.\d)", said))
    return str(int(numbers.pop())) if len(numbers) == 1 else None


def _phrases(selectors: Selectors) -> list[str]:
    """Longest first: one may be part of another."""
    return sorted((phrase_of(selector) for selector in selectors.values()), key=len, reverse=True)


def _as_words(phrase: str) -> str:
    return rf"(?<!\w){re.escape(phrase)}(?!\w)"
