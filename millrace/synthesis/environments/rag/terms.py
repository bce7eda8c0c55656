"""Unmistakable terms of a corpus, and where each of them stands: what the rag planner knows.

Terms are unmistakable forms only (`__len__`, `KeyError`, `len()`, `PEP 560`, `version 3.7`; in a user's corpus also names of two
capitalised words, years and titles in 《》), because a plain word is a term in one place and just a word in another. The rule by
which a form is told stands in each question that uses it (`RULES`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from millrace.synthesis.environments import Constants
from millrace.synthesis.environments.rag.corpus import INSIDE, Corpus

CALLABLES = (
    "abs aiter all anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex delattr dict dir "
    "divmod enumerate eval exec filter float format frozenset getattr globals hasattr hash help hex id input int isinstance "
    "issubclass iter len list locals map max memoryview min next object oct open ord pow print property range repr reversed "
    "round set setattr slice sorted staticmethod str sum super tuple type vars zip"
)
"""The built-in functions of the Library Reference; fixed, because what `builtins` holds depends on the Python that runs this."""

PATTERNS: dict[str, re.Pattern[str]] = {
    "exception": re.compile(rf"(?<!{INSIDE})(?=[A-Z])[A-Za-z]*(?:Error|Exception|Warning|Iteration|Interrupt)(?!{INSIDE})"),
    "special": re.compile(rf"(?<!{INSIDE})__[a-z][a-z_]*[a-z]__(?!{INSIDE})"),
    "builtin": re.compile(rf"(?<!{INSIDE})(?:{'|'.join(sorted(CALLABLES.split(), key=len, reverse=True))})\(\)"),
    "pep": re.compile(rf"(?<!{INSIDE})PEP \d+(?!{INSIDE})"),
    "version": re.compile(rf"(?<=version )[23]\.\d+(?!{INSIDE}|\.\d)"),
    "name": re.compile(rf"(?<!{INSIDE})[A-Z][a-z]+(?: [A-Z][a-z]+)+(?!{INSIDE})"),
    "year": re.compile(rf"(?<!{INSIDE})(?:1[0-9]|20)\d\d(?!{INSIDE}|\.\d)"),
    "title": re.compile(r"《[^《》\s]{1,30}》"),
}
"""Type of term → how it looks."""

SAID = {
    "exception": ("exception", "异常"),
    "special": ("special name", "特殊名称"),
    "builtin": ("built-in function", "内置函数"),
    "pep": ("PEP", "PEP"),
    "version": ("version number", "版本号"),
    "name": ("name", "名称"),
    "year": ("year", "年份"),
    "title": ("title", "书名"),
}

RULES = {
    "paragraph": (
        "A paragraph is a block of lines without an empty line between them.",
        "段落指中间没有空行的连续各行。",
    ),
    "mention": (
        "A text is mentioned where it stands exactly as written and not inside a longer word or number.",
        "提到指与所写完全一致，且不是更长的词或数的一部分。",
    ),
    "exception": (
        (
            "An exception is a name of letters that begins with a capital letter and ends in Error, Exception, Warning, "
            "Iteration or Interrupt."
        ),
        "异常指以大写字母开头，以 Error、Exception、Warning、Iteration 或 Interrupt 结尾的纯字母名称。",
    ),
    "special": (
        "A special name is made of small letters with two underscores before and two behind.",
        "特殊名称指前后各有两个下划线的小写字母名称。",
    ),
    "builtin": (
        "A built-in function counts where it is written with empty parentheses, and they belong to its name here.",
        "内置函数仅指后跟一对空括号的写法，括号算作名称的一部分。",
    ),
    "pep": ("A PEP is written as the three capital letters, a space and a number.", "PEP 写作三个大写字母、一个空格和编号。"),
    "version": (
        "A version number counts where it stands directly behind the word 'version'.",
        "版本号仅指紧跟在 version 一词之后的。",
    ),
    "name": (
        "A name is an unbroken run of two or more words that each begin with one capital letter and go on in small letters.",
        "名称指两个以上首字母大写、其余小写的连续单词。",
    ),
    "year": ("A year is a number of four digits from 1000 to 2099.", "年份指 1000 到 2099 的四位数。"),
    "title": ("A title stands in the marks 《 and 》, which belong to it.", "书名指书名号内的文字，连同书名号。"),
}
"""What a reader must know to read as the tools and the verifier do: (English, Chinese)."""

BRIDGES = ("exception", "special", "builtin", "pep", "name", "year", "title")
"""Types that can be looked up elsewhere; a version number is too common to lead anywhere."""

MIN_RESULTS = 4
"""How many different results the terms of one type must have in a document, so that it matters which one is meant."""

MAX_HITS = 40
"""The most paragraphs for a question about all that mention a term."""

READABLE_CHARS = 16_000
"""The largest document that a tool shows whole."""

LEAST_COMPANY = 3
"""How many terms must stand beside one so that a question can go on from it."""

MAX_TERMS = 3
"""The most terms in a sentence that one of them is left out of: with more, the rest hardly says what is meant."""


@lru_cache(maxsize=50_000)
def terms_in(text: str, kind: str) -> tuple[str, ...]:
    """The terms of one type in a text, in order, repeats included."""
    return tuple(PATTERNS[kind].findall(text))


class Vocabulary:
    """Where every term of a corpus stands; made once, used only to plan."""

    def __init__(self, corpus: Corpus, kinds: Sequence[str]) -> None:
        self.corpus, self.kinds = corpus, tuple(kinds)
        self.topics: dict[str, Counter[str]] = {}
        self.kind_of: dict[str, str] = {}
        self.places_of: dict[str, list[tuple[str, int]]] = {}
        self.at: dict[tuple[str, int], dict[str, list[str]]] = {}
        for place in corpus.places:
            text = corpus.documents[place[0]][place[1]]
            self.at[place] = {kind: list(dict.fromkeys(terms_in(text, kind))) for kind in kinds}
            for kind, terms in self.at[place].items():
                for term in terms:
                    self.kind_of[term] = kind
                    self.topics.setdefault(term, Counter())[place[0]] += 1
                    self.places_of.setdefault(term, []).append(place)
        self.terms_of: dict[tuple[str, str], list[str]] = {}
        for term, counts in sorted(self.topics.items()):
            for name in counts:
                self.terms_of.setdefault((name, self.kind_of[term]), []).append(term)
        self.blanks: dict[tuple[str, int], list[Constants]] = {}

    def everywhere(self, term: str) -> list[tuple[str, str]]:
        """(document, paragraph) of all that hold a term, in document order; empty where they are too many to show."""
        places = self.places_of.get(term, [])
        found = [(name, self.corpus.documents[name][number]) for name, number in places[: MAX_HITS + 1]]
        return found if len(found) <= MAX_HITS and sum(len(text) for _, text in found) < READABLE_CHARS else []

    def company(self, term: str) -> list[str]:
        """The other terms that stand in a paragraph with a term and can be looked up, in the order of their spelling."""
        return sorted(
            {other for place in self.places_of.get(term, ()) for kind in BRIDGES for other in self.at[place].get(kind, ())}
            - {term}
        )

    def leads_on(self, term: str) -> bool:
        """Whether a question can go on from a term: it keeps company, or stands in several documents."""
        return len(self.company(term)) >= LEAST_COMPANY or len(self.topics[term]) > 1

    def readable(self, name: str) -> bool:
        """Whether a tool can show a document whole."""
        return sum(map(len, self.corpus.documents.get(name, ()))) < READABLE_CHARS

    def alone_beside(self, term: str, second: str, kind: str) -> str | None:
        """The only term of a type beside two others; None where there is none, or more than one."""
        shared = set(self.places_of.get(term, ())) & set(self.places_of.get(second, ()))
        found = {other for place in shared for other in self.at[place].get(kind, ())} - {term, second}
        return found.pop() if len(found) == 1 else None

    def blanks_of(self, name: str, number: int) -> list[Constants]:
        """Sentences of a paragraph that hold few terms, each once with one of them left out."""
        place = (name, number)
        if place not in self.blanks:
            self.blanks[place] = [
                found for sentence in _sentences(self.corpus.documents[name][number]) for found in self._blank(sentence)
            ]
        return self.blanks[place]

    def _blank(self, sentence: str) -> list[Constants]:
        wide = sum(2 if "\u3400" <= c <= "\u9fff" else 1 for c in sentence)  # a Chinese character says as much as two letters
        if not 45 <= wide <= 240 or "____" in sentence:
            return []
        terms = [(term, kind) for kind in self.kinds if kind in BRIDGES for term in terms_in(sentence, kind)]
        if len(terms) > MAX_TERMS:
            return []
        return [
            {"shown": sentence.replace(term, "____"), "kind": kind}
            for term, kind in terms
            if sentence.count(term.strip("()《》")) == 1 and self.leads_on(term)
        ]


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.!?])\s+|(?<=[。！？])\s*", text) if sentence]
