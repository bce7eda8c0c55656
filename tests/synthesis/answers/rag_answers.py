"""The rag presets' questions, computed from their words and their text."""

# ruff: noqa: E501 - a phrase and how it is read stand on one line each

from __future__ import annotations

import collections
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

OTHER_RELEASE = Path(__file__).with_name("python_reference_3_11_2.json")
"""Another patch version's reference, as what differs from the shipped one."""

REFERENCE = Path(__file__).parents[3] / "millrace/synthesis/environments/rag/python_reference.json"
FORMS = {
    "exception": r"\b[A-Z][A-Za-z]*(?:Error|Exception|Warning|Iteration|Interrupt)\b(?![A-Za-z0-9_])",
    "special name": r"\b__[a-z][a-z_]*[a-z]__\b",
    "built-in function": r"\b[a-z]+\(\)",
    "PEP": r"\bPEP \d+\b",
    "version number": r"(?<=version )[23]\.\d+\b(?!\.\d)",
}
CHINESE = {
    "异常": "exception",
    "特殊名称": "special name",
    "内置函数": "built-in function",
    "PEP": "PEP",
    "版本号": "version number",
}
KIND = "exception|special name|built-in function|PEP|version number"


class Reader:
    """Answers the questions of the rag presets, English and Chinese."""

    def __init__(self, documents: dict[str, str]) -> None:
        self.documents = {
            name: [" ".join(block.split()) for block in re.split(r"\n(?:[ \t]*\n)+", text) if block.strip()]
            for name, text in documents.items()
        }

    def terms(self, text: str, kind: str) -> list[str]:
        found = re.findall(FORMS[kind], text)
        return [term for term in found if kind != "built-in function" or term[:-2] in BUILTIN]

    def mentions(self, text: str, term: str) -> bool:
        return term in text and re.search(rf"(?<![A-Za-z0-9_]){re.escape(term)}(?![A-Za-z0-9_]|\.\d)", text) is not None

    def every(self, term: str) -> list[tuple[str, str]]:
        return [(name, text) for name, texts in self.documents.items() for text in texts if self.mentions(text, term)]

    def answer(self, question: str, language: str) -> str:
        return self.english(question) if language == "en" else self.chinese(question)

    def english(self, question: str) -> str:
        said = re.search(r'The documents say: "(.*?)" Let A be the (\S.*?) that fills the blank\.(.*)$', question, re.DOTALL)
        assert said, question
        values = {"A": self.filler(said[1])}
        last = "A"
        for step in re.findall(r"(?:Let [A-Z] be|Call) .+?\.(?= (?:Let|Call|What is|Give|Name) )", said[3].strip()):
            let = re.fullmatch(r"Let ([A-Z]) be (.+)\.", step)
            call = re.fullmatch(r"Call (.+) ([A-Z])\.", step)
            assert let or call, step
            last, phrase = (let[1], let[2]) if let else (call[2], call[1])  # type: ignore[index]
            values[last] = self.value(
                re.sub(r"(?<![\w'])([A-Z])(?![\w'.(])", lambda m: f"<{values[m[1]]}>" if m[1] in values else m[0], phrase)
            )
        return values[last]

    def chinese(self, question: str) -> str:
        said = re.search(r"文档中写道：“(.*?)”设 A 为空白处的(异常|特殊名称|内置函数|PEP|版本号)。(.*)$", question, re.DOTALL)
        assert said, question
        values, last = {"A": self.filler(said[1])}, "A"
        for name, phrase in re.findall(r"(?:设|记) ([A-Z]) 为(.+?)。(?=设|记|请|[A-Z] 是)", said[3]):
            values[name] = self.value(
                re.sub(r"(?<![A-Za-z<])([A-Z])(?![A-Za-z])", lambda m: f"<{values[m[1]]}>" if m[1] in values else m[0], phrase),
                self.chinese_ways(),
            )
            last = name
        return values[last]

    def chinese_ways(self) -> dict[str, Callable[..., object]]:
        of = f"({'|'.join(CHINESE)})"
        return {
            rf"文档“(.+)”中提到 <(.+)> 的各段落里除 <.+> 外唯一的{of}": lambda name, term, kind: self.only(
                CHINESE[kind], term, name
            ),
            rf"文档“(.+)”第一个提到 <(.+)> 的段落中，<.+> 首次出现之后的下一个{of}": lambda name, term, kind: self.following(
                CHINESE[kind], term, name
            ),
            rf"文档 <(.+)> 中各不相同的{of}里，按首次出现次序的第 (\d+) 个": lambda name, kind, k: self.kth(
                k, CHINESE[kind], name
            ),
            rf"文档 <(.+)> 中被最多段落提到的{of}": lambda name, kind: self.most_in(CHINESE[kind], name),
            rf"除 <(.+)> 外与 <.+> 同处一段的段落数最多的{of}": lambda term, kind: self.beside_most(CHINESE[kind], term),
            rf"所有文档中同时提到 <(.+)> 和 (.+) 的各段落里，除二者外唯一的{of}": lambda term, second, kind: self.beside(
                CHINESE[kind], term, second
            ),
            rf"文档 <(.+)> 中不同的{of}的个数": lambda name, kind: self.different(CHINESE[kind], name),
            r"提到 <(.+)> 的段落最多的文档": self.main,
            r"提到 <(.+)> 的文档中名称按码位排在最前的一个": lambda term: min(self.every(term))[0],
            r"提到 <(.+)> 的文档中名称按码位排在最后的一个": lambda term: max(self.every(term))[0],
            r"所有文档中提到 <(.+)> 的段落数": lambda term: len(self.every(term)),
            r"提到 <(.+)> 的文档数": lambda term: len({name for name, _ in self.every(term)}),
            r"所有提到 <(.+)> 的段落中最大的版本号": lambda term: self.versions(term)[-1],
            r"所有提到 <(.+)> 的段落中最小的版本号": lambda term: self.versions(term)[0],
        }

    def kth(self, k: str, kind: str, name: str) -> str:
        return list(dict.fromkeys(t for text in self.documents[name] for t in self.terms(text, kind)))[int(k) - 1]

    def most_in(self, kind: str, name: str) -> str:
        return most([t for text in self.documents[name] for t in set(self.terms(text, kind))])

    def beside_most(self, kind: str, term: str) -> str:
        return most([t for _, text in self.every(term) for t in set(self.terms(text, kind)) - {term}])

    def different(self, kind: str, name: str) -> int:
        return len({t for text in self.documents[name] for t in self.terms(text, kind)})

    def main(self, term: str) -> str:
        return most([name for name, _ in self.every(term)])

    def filler(self, shown: str) -> str:
        left, _, right = shown.partition("____")
        found = {
            m
            for texts in self.documents.values()
            for text in texts
            if left in text and right in text
            for m in re.findall(re.escape(left) + r"(PEP \d+|\S+?)" + re.escape(right), text)
        }
        assert len(found) == 1, (shown, found)
        return found.pop()

    def value(self, phrase: str, ways: dict[str, Callable[..., object]] | None = None) -> str:
        for pattern, compute in (ways or self.ways()).items():
            match = re.fullmatch(pattern, phrase)
            if match:
                return str(compute(*match.groups()))
        raise AssertionError(f"no way to read '{phrase}'")

    def ways(self) -> dict[str, Callable[..., object]]:
        of = rf"({KIND})"
        return {
            rf"the only {of} other than <(.+)> in those paragraphs of the document '(.+)' that mention <.+>": self.only,
            rf"the next {of} after the first mention of <(.+)> in the first paragraph of the document '(.+)' that mentions it": self.following,
            rf"number (\d+) of the different terms of the kind '{of}' in the document <(.+)>, in the order of their first mention": (
                self.kth
            ),
            rf"the {of} that the largest number of paragraphs of the document <(.+)> mention": (self.most_in),
            rf"the {of} other than <(.+)> that stands in the largest number of paragraphs together with <.+>": (self.beside_most),
            rf"the only {of} other than <(.+)> and (.+) in those paragraphs of all documents that mention both <.+> and .+": self.beside,
            rf"the number of different terms of the kind '{of}' in the document <(.+)>": (self.different),
            r"the document in which the largest number of paragraphs mention <(.+)>": self.main,
            r"the document that comes first \(by code point of its name\) of those that mention <(.+)>": lambda term: min(
                self.every(term)
            )[0],
            r"the document that comes last \(by code point of its name\) of those that mention <(.+)>": lambda term: max(
                self.every(term)
            )[0],
            r"the number of paragraphs in all documents that mention <(.+)>": lambda term: len(self.every(term)),
            r"the number of documents that mention <(.+)>": lambda term: len({name for name, _ in self.every(term)}),
            r"the highest version number in all paragraphs that mention <(.+)>": lambda term: self.versions(term)[-1],
            r"the lowest version number in all paragraphs that mention <(.+)>": lambda term: self.versions(term)[0],
        }

    def only(self, kind: str, term: str, name: str) -> str:
        found = {t for text in self.documents[name] if self.mentions(text, term) for t in self.terms(text, kind)} - {term}
        assert len(found) == 1, found
        return found.pop()

    def beside(self, kind: str, term: str, second: str) -> str:
        found = {t for _, text in self.every(term) if self.mentions(text, second) for t in self.terms(text, kind)} - {
            term,
            second,
        }
        assert len(found) == 1, found
        return found.pop()

    def following(self, kind: str, term: str, name: str) -> str:
        text = next(text for text in self.documents[name] if self.mentions(text, term))
        at = re.search(rf"(?<![A-Za-z0-9_]){re.escape(term)}(?![A-Za-z0-9_]|\.\d)", text)
        assert at
        return next(t for t in self.terms(text[at.end() :], kind) if t != term)

    def versions(self, term: str) -> list[str]:
        found = {t for _, text in self.every(term) for t in self.terms(text, "version number")}
        return sorted(found, key=lambda version: tuple(map(int, version.split("."))))


BUILTIN = set(
    "abs aiter all anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod compile complex delattr dict dir divmod "  # noqa: SIM905
    "enumerate eval exec filter float format frozenset getattr globals hasattr hash help hex id input int isinstance issubclass iter len "
    "list locals map max memoryview min next object oct open ord pow print property range repr reversed round set setattr slice sorted "
    "staticmethod str sum super tuple type vars zip".split()
)


def most(found: list[str]) -> str:
    ranked = collections.Counter(found).most_common(2)
    assert len(ranked) == 1 or ranked[0][1] > ranked[1][1], ranked
    return ranked[0][0]


def documents_of(corpus: str) -> dict[str, str]:
    """The raw texts: `shipped`; `installed`, of the Python that runs this; `other`, of another patch version."""
    if corpus == "installed":
        from pydoc_data.topics import topics

        return dict(topics)
    documents: dict[str, str] = json.loads(REFERENCE.read_text(encoding="utf-8"))["documents"]
    if corpus == "other":
        other = json.loads(OTHER_RELEASE.read_text(encoding="utf-8"))
        for name, changes in other["changes"].items():
            lines = documents[name].split("\n")
            for first, after, said in reversed(changes):
                lines[first:after] = said
            documents[name] = "\n".join(lines)
        digest = hashlib.sha256("".join(f"{name}\0{documents[name]}\0" for name in sorted(documents)).encode())
        assert digest.hexdigest() == other["sha256"]
    return documents


_readers: dict[str, Reader] = {}


def reader(corpus: str) -> Reader:
    """A reader of one of the corpora (see `documents_of`)."""
    if corpus not in _readers:
        _readers[corpus] = Reader(documents_of(corpus))
    return _readers[corpus]


def answer(question: str, language: str, corpus: str = "shipped") -> str:
    """The answer, as it is written."""
    return reader(corpus).answer(question, language)
