"""Retrievers: the dense one finds what no word leads to; rag works with each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from millrace.errors import UsageError
from millrace.plugins.loading import plugin_names
from millrace.synthesis.environments import Environment
from millrace.synthesis.environments.rag.retrievers.lsa import LsaIndex
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.testing.kinds.retriever import TEXTS

FOLDER = "millrace.synthesis.environments.rag.retrievers"


def test_the_dense_retriever_finds_a_text_that_shares_no_word_with_the_query() -> None:
    places = [place for place, _ in LsaIndex(TEXTS).search("doctor", 3)]
    assert places[:2] == [0, 1]  # the second says "physician", who keeps the same company


@pytest.mark.parametrize("name", plugin_names(FOLDER))
def test_rag_searches_with_each_retriever(name: str, opened: Callable[..., Environment]) -> None:
    environment = opened("rag", environment_kwargs={"retriever": name})
    seen = environment.tools["local_search"].run({"query": "exceptions raised by a failing import", "top_k": 3})
    assert seen.status == "ok"
    assert seen.text.count("(score ") == 3
    assert environment.versions.get("retriever", "bm25") == name


def test_an_unknown_retriever_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="did you mean 'lsa'"):
        open_environment(SynthesisConfig(environment_mode="rag", environment_kwargs={"retriever": "lsi"}))
