"""Retrieval over a local corpus: any folder of txt, md, json or jsonl; by default a fixed release of Python's own reference."""

from __future__ import annotations

import logging
import platform
import random
from pathlib import Path
from typing import Any

from millrace.config import Settings
from millrace.plugins.loading import load_plugin
from millrace.synthesis.environments import Start, Tool
from millrace.synthesis.environments.rag.corpus import (
    INSTALLED,
    MAX_RESULTS,
    REFERENCE,
    Corpus,
    installed_reference,
    read_folder,
    reference_in,
    shipped_reference,
)
from millrace.synthesis.environments.rag.operators import build_operators
from millrace.synthesis.environments.rag.terms import RULES, SAID, Vocabulary
from millrace.synthesis.environments.rag.verifier import RagVerifier

log = logging.getLogger("millrace.synthesis")
RETRIEVERS = "millrace.synthesis.environments.rag.retrievers"
REFERENCE_KINDS = ("exception", "special", "builtin", "pep", "version")
TEXT_KINDS = ("name", "year", "title")
NEAR = 24
"""How many paragraphs near a seed are looked at for a first sentence."""


class Options(Settings):
    """The environment's own settings (`environment_kwargs`); `rag_index` is the original's name for `corpus`."""

    corpus: str | None = None
    """A folder or file of text; empty: the release of Python's reference that is part of this package; `installed`: that of the
    Python that runs this, which differs between patch releases; a JSON file `{"name": "python-reference-3.11.2", "documents":
    {topic: text}}`: that of another release."""
    retriever: str = "bm25"
    """How paragraphs are ranked: `bm25` by words, `lsa` by vectors learnt from the corpus, or the dotted path of your own."""
    rag_index: str | None = None
    """The original's name for `corpus`; its presets hold a placeholder, so a path to nothing means the default corpus."""


class RagEnvironment:
    """Search and read over a corpus held in memory."""

    name = "rag"
    concurrent = False

    def __init__(self, options: Options) -> None:
        place = options.corpus or options.rag_index
        if place and not options.corpus and not Path(place).exists():
            log.warning("rag_index: there is nothing at %s; the reference that ships with this package is used instead", place)
            place = None
        raw, label, documents = _read(place)
        self.corpus = Corpus(raw, load_plugin(RETRIEVERS, options.retriever, "retriever").open_retriever)
        reference = documents["en"].startswith("the topics")
        self.vocabulary = Vocabulary(self.corpus, REFERENCE_KINDS if reference else (*REFERENCE_KINDS, *TEXT_KINDS))
        self.operators = build_operators(self.vocabulary)
        self.verifier = RagVerifier(raw)
        self.frames = _frames(documents, self.corpus.sha256[:8])
        self.versions = {"corpus": label, "corpus_sha256": self.corpus.sha256}
        if options.retriever != "bm25":
            self.versions["retriever"] = options.retriever
        text = {"type": "string", "minLength": 1, "maxLength": 2_000}
        self.tools = {
            "local_search": Tool(
                name="local_search",
                description="Paragraphs of the corpus for a query, best first; a query in double quotes finds the exact text.",
                parameters={
                    "type": "object",
                    "properties": {"query": text, "top_k": {"type": "integer", "minimum": 1, "maximum": MAX_RESULTS}},
                    "required": ["query"],
                    "additionalProperties": False,
                },
                call=self.corpus.local_search,
            ),
            "local_read": Tool(
                name="local_read",
                description="A document's paragraphs: all of them, or those that contain the text `find`.",
                parameters={
                    "type": "object",
                    "properties": {"doc_id": text, "find": {"type": "string", "maxLength": 200}},
                    "required": ["doc_id"],
                    "additionalProperties": False,
                },
                call=self.corpus.local_read,
            ),
        }
        self.replay_tools = self.tools

    def start(self, seed: str, rng: random.Random) -> Start:
        """The paragraphs nearest to the seed; where it shares no word with the corpus, some by hash, and the record says so."""
        near = [(name, number) for name, number, _ in self.corpus.ranked(seed, NEAR)]
        found = [place for place in near if self.vocabulary.blanks_of(*place)]
        match = "keyword" if found else "fallback"
        while not found:
            places = rng.sample(self.corpus.places, min(NEAR, len(self.corpus.places)))
            found = [place for place in places if self.vocabulary.blanks_of(*place)]
            if len(places) == len(self.corpus.places):
                break
        return Start(kind="corpus", value=[f"{name}#{number}" for name, number in found[:6]], match=match)  # type: ignore[arg-type]

    def prepare(self) -> None:
        """Make the index now; called where the tools run, so that no call is charged for it."""
        self.corpus.ranked("-", 1)

    def close(self) -> None:
        """Nothing to let go of."""


def _read(place: str | None) -> tuple[dict[str, str], str, dict[str, str]]:
    """(documents, label for the records, what a question calls them by language)."""
    if place == INSTALLED and not Path(place).exists():
        version = platform.python_version()
        raw, label = installed_reference(), f"installed python reference {version}"
    elif place and (reference := reference_in(Path(place))) is not None:
        label, raw = reference
        version = label.removeprefix(REFERENCE)
    elif place:
        folder = Path(place).resolve().name
        return read_folder(Path(place)), folder, {"en": f"those of the collection '{folder}'", "zh": f"文集“{folder}”中的各篇"}
    else:
        label, raw = shipped_reference()
        version = label.removeprefix(REFERENCE)
    return raw, label, {"en": f"the topics of the reference of Python {version}", "zh": f"Python {version} 参考文档的各个主题"}


def _frames(documents: dict[str, str], version: str) -> dict[str, dict[str, str]]:
    shared = {"named": "the documents", "letters": "ABCDEFGHIJ"}
    named = {language: said.replace("{", "(").replace("}", ")").replace("|", "/") for language, said in documents.items()}
    return {
        "en": {
            **shared,
            "start": f"The documents are {named['en']} (text version {version}).",
            "hop": "Let {v} be {phrase}.|Call {phrase} {v}.",
            "ask": "What is {v}?|Give {v} as it is written.|Name {v}.",
            **{f"word:{kind}": said[0] for kind, said in SAID.items()},
            **{f"rule:{name}": said[0] for name, said in RULES.items()},
        },
        "zh": {
            **shared,
            "start": f"文档为{named['zh']}（文本版本 {version}）。",
            "hop": "设 {v} 为{phrase}。|记 {v} 为{phrase}。",
            "ask": "{v} 是什么？|请按原文写出 {v}。",
            **{f"word:{kind}": said[1] for kind, said in SAID.items()},
            **{f"rule:{name}": said[1] for name, said in RULES.items()},
        },
    }


def open_environment(**options: Any) -> RagEnvironment:
    """The rag environment."""
    return RagEnvironment(Options(**options))
