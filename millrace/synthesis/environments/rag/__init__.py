"""Retrieval over a local corpus: any folder of txt, md, json or jsonl; by default the reference that ships with Python itself."""

from __future__ import annotations

import logging
import platform
import random
from pathlib import Path
from typing import Any

from millrace.config import Settings
from millrace.plugins.loading import load_plugin
from millrace.synthesis.environments import Start, Tool
from millrace.synthesis.environments.rag.corpus import MAX_RESULTS, Corpus, python_reference, read_folder
from millrace.synthesis.environments.rag.operators import build_operators
from millrace.synthesis.environments.rag.terms import SAID, Vocabulary
from millrace.synthesis.environments.rag.verifier import RagVerifier

log = logging.getLogger("millrace.synthesis")
RETRIEVERS = "millrace.synthesis.environments.rag.retrievers"
REFERENCE_KINDS = ("exception", "special", "builtin", "pep", "version")
NEAR = 24
"""How many paragraphs near a seed are looked at for a first sentence."""


class Options(Settings):
    """The environment's own settings (`environment_kwargs`); `rag_index` is the original's name for `corpus`."""

    corpus: str | None = None
    """A folder or file of text; empty: the reference that ships with Python."""
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
            log.warning("rag_index: there is nothing at %s; the reference that ships with Python is used instead", place)
            place = None
        raw = read_folder(Path(place)) if place else python_reference()
        self.corpus = Corpus(raw, load_plugin(RETRIEVERS, options.retriever, "retriever").open_retriever)
        kinds = (*REFERENCE_KINDS, "name", "year") if place else REFERENCE_KINDS
        self.vocabulary = Vocabulary(self.corpus, kinds)
        self.operators = build_operators(self.vocabulary)
        self.verifier = RagVerifier(raw)
        self.frames = _frames(f"those of the folder '{Path(place).name}'" if place else "the topics of Python's own reference")
        label = Path(place).name if place else f"pydoc_topics/{platform.python_version()}"
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
                bounded=True,
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
                bounded=True,
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

    def close(self) -> None:
        """Nothing to let go of."""


def _frames(documents: str) -> dict[str, dict[str, str]]:
    said_zh = "Python 自带参考文档的各个主题" if "Python" in documents else "给定文件夹中的文件"
    shared = {"named": "the documents", "letters": "ABCDEFGHIJ"}
    return {
        "en": {
            **shared,
            "start": f"The documents are {documents}.",
            "hop": "Let {v} be {phrase}.|Call {phrase} {v}.",
            "ask": "What is {v}?|Give {v} as it is written.|Name {v}.",
            **{f"word:{kind}": said[0] for kind, said in SAID.items()},
        },
        "zh": {
            **shared,
            "start": f"文档为{said_zh}。",
            "hop": "设 {v} 为{phrase}。|记 {v} 为{phrase}。",
            "ask": "{v} 是什么？|请按原文写出 {v}。",
            **{f"word:{kind}": said[1] for kind, said in SAID.items()},
        },
    }


def open_environment(**options: Any) -> RagEnvironment:
    """The rag environment."""
    return RagEnvironment(Options(**options))
