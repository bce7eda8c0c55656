"""Unmistakable terms of a corpus, and where each of them stands: what the rag planner knows.

Terms are unmistakable forms only (`__len__`, `KeyError`, `len()`, `PEP 560`, `version 3.7`; in a user's corpus also names of two
capitalised words and years), because a plain word is a term in one place and just a word in another.
"""

from __future__ import annotations

import builtins
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from millrace.synthesis.environments.rag.corpus import Corpus, mentions

CALLABLES = "|".join(
    sorted((name for name in dir(builtins) if name.islower() and not name.startswith("_")), key=len, reverse=True)
)

PATTERNS: dict[str, re.Pattern[str]] = {
    "exception": re.compile(r"(?<![\w.])(?=[A-Z])[A-Za-z]*(?:Error|Exception|Warning|Iteration|Interrupt)(?!\w)"),
    "special": re.compile(r"(?<![\w.])__[a-z][a-z_]*[a-z]__(?!\w)"),
    "builtin": re.compile(rf"(?<![\w.])(?:{CALLABLES})\(\)"),
    "pep": re.compile(r"(?<![\w.])PEP \d+(?!\w)"),
    "version": re.compile(r"(?<=version )[23]\.\d+(?!\w|\.\d)"),
    "name": re.compile(r"(?<![\w.])[A-Z][a-z]+(?: [A-Z][a-z]+)+(?!\w)"),
    "year": re.compile(r"(?<![\w.])(?:1[0-9]|20)\d\d(?!\w|\.\d)"),
}
"""Type of term → how it looks."""

SAID = {
    "exception": ("exception", "异常"),
    "special": ("special name (like __this__)", "特殊名称（形如 __this__）"),
    "builtin": ("built-in function (written with parentheses)", "内置函数（带括号写法）"),
    "pep": ("PEP (as in 'PEP 8')", "PEP（形如“PEP 8”）"),
    "version": ("version number (after the word 'version')", "版本号（紧跟在 version 一词之后）"),
    "name": ("name (of two or more capitalised words)", "名称（两个以上首字母大写的词）"),
    "year": ("year", "年份"),
}
BRIDGES = ("exception", "special", "builtin", "pep", "name", "year")
"""Types that can be looked up elsewhere; a version number is too common to lead anywhere."""

MIN_RESULTS = 4
"""How many different results the terms of one type must have in a document, so that it matters which one is meant."""

MAX_HITS = 40
"""The most paragraphs for a question about all that mention a term."""

READABLE_CHARS = 16_000
"""The largest document that a tool shows whole."""


def terms_in(text: str, kind: str) -> list[str]:
    """The terms of one type in a text, in order, repeats included."""
    return PATTERNS[kind].findall(text)


class Vocabulary:
    """Where every term of a corpus stands; made once, used only to plan."""

    def __init__(self, corpus: Corpus, kinds: Sequence[str]) -> None:
        self.corpus, self.kinds = corpus, tuple(kinds)
        self.topics: dict[str, Counter[str]] = {}
        self.kind_of: dict[str, str] = {}
        for name, number in corpus.places:
            text = corpus.documents[name][number]
            for kind in kinds:
                for term in set(terms_in(text, kind)):
                    self.kind_of[term] = kind
                    self.topics.setdefault(term, Counter())[name] += 1
        self.terms_of: dict[tuple[str, str], list[str]] = {}
        for term, counts in sorted(self.topics.items()):
            for name in counts:
                self.terms_of.setdefault((name, self.kind_of[term]), []).append(term)
        self._everywhere: dict[str, list[str]] = {}
        self.blanks: dict[tuple[str, int], list[dict[str, Any]]] = {}

    def everywhere(self, term: str) -> list[str]:
        """All paragraphs that mention a term, in document order; empty where they are too many to show."""
        if term not in self._everywhere:
            found = []
            if 1 <= self.topics.get(term, Counter()).total() <= MAX_HITS:
                found = [
                    text for name, number in self.corpus.places if mentions(text := self.corpus.documents[name][number], term)
                ]
            self._everywhere[term] = found if sum(map(len, found)) < READABLE_CHARS else []
        return self._everywhere[term]

    def blanks_of(self, name: str, number: int) -> list[dict[str, Any]]:
        """Sentences of a paragraph that hold a single term, once, with the term left out."""
        place = (name, number)
        if place not in self.blanks:
            self.blanks[place] = [
                found for sentence in _sentences(self.corpus.documents[name][number]) for found in self._blank(sentence)
            ]
        return self.blanks[place]

    def _blank(self, sentence: str) -> list[dict[str, Any]]:
        if not 45 <= len(sentence) <= 240 or "____" in sentence:
            return []
        found = [(term, kind) for kind in self.kinds if kind in BRIDGES for term in terms_in(sentence, kind)]
        if len(found) != 1 or sentence.count(found[0][0].strip("()")) != 1:
            return []
        term, kind = found[0]
        return [{"shown": sentence.replace(term, "____"), "kind": kind}]


def _sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+", text)
