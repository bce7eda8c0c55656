"""Every answer of the shipped presets, computed again from the words of its question by readers that know no product code.

In CI on the first seeds of each preset; on all of them with `-m whole`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

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
    "rag, the reference of another patch version": partial(rag_answers.answer, corpus="other"),
}


def read_again(name: str, folder: Path) -> Counter[str]:
    """How many items of a run are right, by language; fails on the first that is not."""
    right: Counter[str] = Counter()
    for item in read_jsonl(folder / "qa.jsonl"):
        assert READERS[name](item["question"], item["language"]) == item["answer"], item["question"]
        right[item["language"]] += 1
    return right


def other_release(folder: Path) -> Path:
    """A file with the whole reference of another patch version than the shipped one."""
    path = folder / "reference.json"
    path.write_text(json.dumps({"name": "python-reference-3.11.2", "documents": rag_answers.documents_of("other")}), "utf-8")
    return path


def test_answers_about_another_patch_version_are_those_of_its_text_and_some_are_not_the_shipped_ones(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.txt"
    said = "What the reference says about"
    topics = (f"{said} set name and init subclass", f"{said} indexing and slicing", f"{said} deleting attributes and items")
    seeds.write_text("\n".join((*topics, "Rules and special cases of slots", "Rules and special cases of creating instances")))
    settings = {"environment_kwargs": {"corpus": str(other_release(tmp_path))}, "seeds": seeds, "number_of_seed": None}
    run_serially(load_config(SynthesisConfig, shipped("rag"), []).model_copy(update=settings), tmp_path / "run")
    name = "rag, the reference of another patch version"
    assert read_again(name, tmp_path / "run").total() >= 4
    items = list(read_jsonl(tmp_path / "run" / "qa.jsonl"))
    assert {item["verifier"]["args"]["world"]["corpus"] for item in items} == {"python-reference-3.11.2"}
    assert all("Python 3.11.2" in item["question"] for item in items)
    assert any(in_the_shipped_text(item) != item["answer"] for item in items)


def in_the_shipped_text(item: dict[str, Any]) -> str | None:
    """What the same question would have for an answer in the shipped text; None where it has none."""
    try:
        return rag_answers.answer(item["question"], item["language"])
    except (AssertionError, StopIteration, IndexError, KeyError):
        return None


@pytest.mark.parametrize("name", ["math", "python", "web", "rag"])
def test_answers_of_a_preset_are_found_again_by_a_reader_of_its_own(name: str, preset_run: Callable[[str], Path]) -> None:
    assert read_again(name, preset_run(name)).total() > 6


@pytest.mark.whole
@pytest.mark.parametrize("name", READERS)
def test_every_answer_of_a_preset_is_found_again_by_a_reader_of_its_own(name: str, tmp_path: Path) -> None:
    config = load_config(SynthesisConfig, shipped(name.partition(",")[0]), [])
    if "installed" in name:
        config = config.model_copy(update={"environment_kwargs": {"corpus": "installed"}})
    if "another patch" in name:
        config = config.model_copy(update={"environment_kwargs": {"corpus": str(other_release(tmp_path))}})
    run_serially(config, tmp_path)
    right = read_again(name, tmp_path)
    assert right["en"] > 200
    assert right["zh"] > 50


def test_a_reader_refuses_a_phrase_that_it_does_not_know_and_one_that_it_can_read_in_two_ways() -> None:
    with pytest.raises(Unread):
        value_of("twice b", {"b": 3}, {})
    with pytest.raises(Unread):
        value_of("twice b", {"b": 3}, {"twice (?P<v>b)": lambda v: 2 * v, "twice (?P<v1>b)": lambda v1: v1**2})
