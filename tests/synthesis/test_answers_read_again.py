"""Every answer of the shipped presets, computed again from the words of its question by readers that know no product code.

In CI on the first seeds of each preset; on all of them with `-m whole`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from millrace.config import load_config
from millrace.run.journal import read_jsonl
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig
from tests.synthesis.answers import math_answers, python_answers, rag_answers, web_answers
from tests.synthesis.answers.chains import Unread, value_of
from tests.synthesis.conftest import shipped

READERS: dict[str, Callable[[str, str], str]] = {
    "math": math_answers.answer,
    "python": python_answers.answer,
    "web": web_answers.answer,
    "rag": rag_answers.answer,
    "rag, the installed reference": partial(rag_answers.answer, corpus="installed"),
}


def read_again(name: str, folder: Path) -> Counter[str]:
    """How many items of a run are right, by language; fails on the first that is not."""
    right: Counter[str] = Counter()
    for item in read_jsonl(folder / "qa.jsonl"):
        assert READERS[name](item["question"], item["language"]) == item["answer"], item["question"]
        right[item["language"]] += 1
    return right


@pytest.mark.parametrize("name", ["math", "python", "web", "rag"])
def test_answers_of_a_preset_are_found_again_by_a_reader_of_its_own(name: str, preset_run: Callable[[str], Path]) -> None:
    assert read_again(name, preset_run(name)).total() > 6


@pytest.mark.whole
@pytest.mark.parametrize("name", READERS)
def test_every_answer_of_a_preset_is_found_again_by_a_reader_of_its_own(name: str, tmp_path: Path) -> None:
    config = load_config(SynthesisConfig, shipped(name.partition(",")[0]), [])
    if "installed" in name:
        config = config.model_copy(update={"environment_kwargs": {"corpus": "installed"}})
    run_serially(config, tmp_path)
    right = read_again(name, tmp_path)
    assert right["en"] > 200
    assert right["zh"] > 50


def test_a_reader_refuses_a_phrase_that_it_does_not_know_and_one_that_it_can_read_in_two_ways() -> None:
    with pytest.raises(Unread):
        value_of("twice b", {"b": 3}, {})
    with pytest.raises(Unread):
        value_of("twice b", {"b": 3}, {"twice (?P<v>b)": lambda v: 2 * v, "twice (?P<v1>b)": lambda v1: v1**2})
