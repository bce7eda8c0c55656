"""A checker that shares no code with the product: it reads the words of the questions, and their text, by itself."""

# ruff: noqa: E501 - a phrase and how it is read stand on one line each

from __future__ import annotations

import collections
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.run.journal import read_jsonl
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig

REFERENCE = Path(__file__).parents[2] / "millrace/synthesis/environments/rag/python_reference.json"
FORMS = {
    "exception": r"\b[A-Z][A-Za-z]*(?:Error|Exception|Warning|Iteration|Interrupt)\b(?![A-Za-z0-9_])",
    "special name": r"\b__[a-z][a-z_]*[a-z]__\b",
    "built-in function": r"\b[a-z]+\(\)",
    "PEP": r"\bPEP \d+\b",
    "version number": r"(?<=version )[23]\.\d+\b(?!\.\d)",
}
KIND = "exception|special name|built-in function|PEP|version number"


class Reader:
    """Answers the English questions of the rag presets."""

    def __init__(self, documents: dict[str, str]) -> None:
        self.documents = {
            name: [" ".join(block.split()) for block in re.split(r"\n(?:[ \t]*\n)+", text) if block.strip()]
            for name, text in documents.items()
        }

    def terms(self, text: str, kind: str) -> list[str]:
        found = re.findall(FORMS[kind], text)
        return [term for term in found if kind != "built-in function" or term[:-2] in BUILTIN]

    def mentions(self, text: str, term: str) -> bool:
        return re.search(rf"(?<![A-Za-z0-9_]){re.escape(term)}(?![A-Za-z0-9_]|\.\d)", text) is not None

    def every(self, term: str) -> list[tuple[str, str]]:
        return [(name, text) for name, texts in self.documents.items() for text in texts if self.mentions(text, term)]

    def answer(self, question: str) -> str:
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

    def filler(self, shown: str) -> str:
        left, _, right = shown.partition("____")
        found = {
            m
            for texts in self.documents.values()
            for text in texts
            for m in re.findall(re.escape(left) + r"(PEP \d+|\S+?)" + re.escape(right), text)
        }
        assert len(found) == 1, (shown, found)
        return found.pop()

    def value(self, phrase: str) -> str:
        for pattern, compute in self.ways().items():
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
                lambda k, kind, name: list(dict.fromkeys(t for text in self.documents[name] for t in self.terms(text, kind)))[
                    int(k) - 1
                ]
            ),
            rf"the {of} that the largest number of paragraphs of the document <(.+)> mention": (
                lambda kind, name: most([t for text in self.documents[name] for t in set(self.terms(text, kind))])
            ),
            rf"the {of} other than <(.+)> that stands in the largest number of paragraphs together with <.+>": (
                lambda kind, term: most([t for _, text in self.every(term) for t in set(self.terms(text, kind)) - {term}])
            ),
            rf"the only {of} other than <(.+)> and (.+) in those paragraphs of all documents that mention both <.+> and .+": self.beside,
            rf"the number of different terms of the kind '{of}' in the document <(.+)>": (
                lambda kind, name: len({t for text in self.documents[name] for t in self.terms(text, kind)})
            ),
            r"the document in which the largest number of paragraphs mention <(.+)>": lambda term: most(
                [name for name, _ in self.every(term)]
            ),
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


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["shipped", "installed"])
def test_every_english_answer_about_the_reference_is_found_again_by_a_reader_of_its_own(corpus: str, tmp_path: Path) -> None:
    from pydoc_data.topics import topics

    documents = json.loads(REFERENCE.read_text(encoding="utf-8"))["documents"] if corpus == "shipped" else dict(topics)
    kwargs = {} if corpus == "shipped" else {"corpus": "installed"}
    config = SynthesisConfig(
        environment_mode="rag", environment_kwargs=kwargs, max_depth=4, branching_factor=3, depth_threshold=2, max_selected_traj=4,
        number_of_seed=150,
    )  # fmt: skip
    run_serially(config, tmp_path)
    reader = Reader(documents)
    read = 0
    for item in read_jsonl(tmp_path / "qa.jsonl"):
        if item["language"] == "en":
            assert reader.answer(item["question"]) == item["answer"], item["question"]
            read += 1
    assert read > 60
