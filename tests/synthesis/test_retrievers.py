"""Retrievers: every one in the folder keeps the contract; the dense one finds what no word leads to; rag works with each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from millrace.errors import UsageError
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.synthesis.environments import Environment
from millrace.synthesis.environments.rag.retrievers.lsa import LsaIndex
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment

FOLDER = "millrace.synthesis.environments.rag.retrievers"
TEXTS = [
    "The doctor treats a patient in the hospital.",
    "A physician sees the patient in a hospital.",
    "The physician writes a prescription.",
    "A ship sails over the sea with its captain.",
    "The captain of the ship sees the sea.",
    "The sailor and the captain steer the ship.",
]


@pytest.mark.parametrize("name", plugin_names(FOLDER))
def test_a_retriever_ranks_the_best_first_and_says_the_same_each_time(name: str) -> None:
    make = load_plugin(FOLDER, name, "retriever").open_retriever
    found = make(TEXTS).search("the captain steers a ship", 3)
    assert found[0][0] in (3, 4, 5)
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    assert all(score > 0 for _, score in found)
    assert len(found) <= 3
    assert found == make(TEXTS).search("the captain steers a ship", 3)
    assert make(TEXTS).search("zebra 斑马", 3) == []
    assert [place for place, _ in make(["only one text"]).search("text", 5)] == [0]
    with pytest.raises(ValueError, match="at least one"):
        make([])


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
