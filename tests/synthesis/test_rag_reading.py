"""How rag reads a corpus: nothing merged, nothing left out, every rule in the question, the text's version in the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.errors import InputError, RunFailed
from millrace.run.journal import read_jsonl, write_jsonl
from millrace.synthesis.environments import Environment, Unprovable
from millrace.synthesis.environments.rag.corpus import Corpus, read_folder, shipped_reference, version_of
from millrace.synthesis.environments.rag.raw_text import terms, terms_by_reading
from millrace.synthesis.environments.rag.terms import PATTERNS, terms_in
from millrace.synthesis.environments.rag.verifier import RagVerifier
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.runs.trace import trace
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.work_shard import synthesise_shard

SHARED = 'A class may define "__format__()" and raises "TypeError" when it does not.'
TWICE = {
    "alpha": f"Alpha\n*****\n\n{SHARED}\n\nSee PEP 1 and PEP 2.",
    "omega": f"{SHARED}\n\nAnother paragraph of omega.",
    "middle": "Nothing of the kind.",
}


def test_a_repeated_paragraph_belongs_to_every_document_it_stands_in() -> None:
    verifier = RagVerifier(TWICE)
    assert verifier.apply("last_document", {}, [[], "__format__"]) == "omega"
    assert verifier.apply("first_document", {}, [[], "__format__"]) == "alpha"
    assert [name for name, _ in Corpus(TWICE).places].count("omega") == 2
    assert "[omega#0]" in Corpus(TWICE).local_search('"__format__"', 5)


def test_no_line_of_a_users_text_is_left_out() -> None:
    assert Corpus(TWICE).documents["alpha"][0] == "Alpha *****"


def test_a_value_that_depends_on_how_the_text_is_read_is_not_provable() -> None:
    with pytest.raises(Unprovable, match="repeated counts once"):
        RagVerifier(TWICE).apply("count_paragraphs", {}, [[], "__format__"])
    dotted = {"a": "Call object.__repr__ first.", "b": "Call __repr__ then.", "c": "And __repr__ too."}
    with pytest.raises(Unprovable, match="behind a dot"):
        RagVerifier(dotted).apply("first_document", {}, [[], "__repr__"])
    assert RagVerifier(dotted).apply("last_document", {}, [[], "__repr__"]) == "c"


def test_a_corpus_is_read_for_proofs_by_the_first_proof_and_not_by_every_process_that_opens_it(
    opened: Callable[..., Environment], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(text: str) -> dict[str, tuple[tuple[str, str], ...]]:
        read.append(text)
        return terms_by_reading(text)

    monkeypatch.setattr("millrace.synthesis.environments.rag.verifier.terms_by_reading", counted)
    environment = opened("rag", fresh=True)
    assert read == []
    assert environment.verifier is not None
    with pytest.raises(Unprovable):
        environment.verifier.apply("first_document", {}, [[], "no such term"])
    assert read


def test_planner_and_verifier_find_the_same_terms_in_the_shipped_reference() -> None:
    for text in shipped_reference()[1].values():
        flat = " ".join(text.split())
        theirs = terms(flat, "as stated")
        for kind in PATTERNS:
            assert list(terms_in(flat, kind)) == [term for sort, term in theirs if sort == kind]


def test_every_rag_question_says_which_text_it_is_about_and_how_it_is_read(
    preset_run: Callable[[str], Path],
) -> None:
    version = version_of(shipped_reference()[1])
    items = list(read_jsonl(preset_run("rag") / "qa.jsonl"))
    assert items
    for item in items:
        assert version[:8] in item["question"]
        assert item["verifier"]["args"]["world"]["corpus_sha256"] == version
        for word, rule in (("mention", "longer word"), ("paragraph", "block of lines")):
            if f" {word}" in item["question"] and item["language"] == "en":
                assert rule in item["question"]


def test_the_shipped_reference_does_not_change_with_the_python_that_reads_it() -> None:
    name, documents = shipped_reference()
    assert name == "python-reference-3.11.7"
    assert version_of(documents).startswith("6c7d68ce")


BOOKS = [
    "红楼梦",
    "水浒传",
    "西游记",
    "三国演义",
    "聊斋志异",
    "儒林外史",
    "金瓶梅",
    "镜花缘",
    "老残游记",
    "官场现形记",
    "孽海花",
    "封神演义",
]
PEOPLE = [
    "Ada Stone",
    "Ben Marsh",
    "Cleo Hart",
    "Dora Finch",
    "Evan Brook",
    "Fay Wood",
    "Gus Lane",
    "Hal Ford",
    "Ida Moss",
    "Jon Reed",
    "Kit Dale",
    "Lou Penn",
]


def chinese() -> dict[str, str]:
    return {
        f"书目{n}": f"{1800 + 7 * n}年的书目里，《{BOOKS[n]}》与《{BOOKS[(n + 1) % 12]}》被放在同一格书架上供人借阅。\n\n"
        f"评论家常把《{BOOKS[(n + 2) % 12]}》同《{BOOKS[n]}》相比，并认为前者的结构在当时最为完整而且最受欢迎。\n\n"
        f"《{BOOKS[(n + 5) % 12]}》在{1900 + 3 * n}年重印，装帧与《{BOOKS[(n + 2) % 12]}》完全一样，书店门前因此排起了长队。"
        for n in range(12)
    }


def two_terms_a_sentence() -> dict[str, str]:
    return {
        f"town {n}": f"The old bridge over the river was built by {PEOPLE[n]} in the year {1800 + 7 * n}.\n\n"
        f"The mill beside it was sold by {PEOPLE[n]} to {PEOPLE[(n + 1) % 12]} after the flood.\n\n"
        f"The archive was moved to the new hall by {PEOPLE[(n + 5) % 12]} in the spring of {1900 + 3 * n}.\n\n"
        f"The portrait of {PEOPLE[(n + 2) % 12]} in the hall was painted by {PEOPLE[(n + 5) % 12]}."
        for n in range(12)
    }


@pytest.mark.parametrize("make", [chinese, two_terms_a_sentence])
def test_a_small_corpus_of_a_users_own_gives_questions(make: Callable[[], dict[str, str]], tmp_path: Path) -> None:
    texts = make()
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    seeds = tmp_path / "seeds.txt"
    seeds.write_text("\n".join([*texts, "红楼梦", "Ada Stone bridge", "儒林外史", "flood"]), encoding="utf-8")
    config = SynthesisConfig(
        environment_mode="rag", environment_kwargs={"corpus": str(folder)}, seeds=seeds, max_depth=3, max_answer_share=1
    )
    assert run_serially(config, tmp_path / "run").items.verified > 0


def test_a_jsonl_corpus_may_hold_line_separators_of_unicode(tmp_path: Path) -> None:
    file = tmp_path / "corpus.jsonl"
    file.write_text(json.dumps({"id": "one", "text": "before\u2028after\x85end"}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_folder(file) == {"one": "before\u2028after\x85end"}


def test_two_documents_of_one_name_are_refused_and_not_merged(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"id": "x", "text": "one"}\n{"id": "x", "text": "two"}\n')
    with pytest.raises(InputError, match="two documents of the corpus are named 'x'"):
        read_folder(tmp_path / "c.jsonl")


def test_a_folder_of_an_earlier_version_says_so(small_config: Callable[..., SynthesisConfig], tmp_path: Path) -> None:
    config = small_config("math", number_of_seed=2)
    run_serially(config, tmp_path)
    shard = next((tmp_path / "synthesis" / "shards").glob("*.jsonl"), None) or next(tmp_path.rglob("shards/*.jsonl"))
    records = list(read_jsonl(shard))
    for record in records:
        for item in record["items"]:
            item["schema"] = "millrace.qa/1"
    write_jsonl(shard, records)
    with pytest.raises(RunFailed, match=r"holds a record of the schema 'millrace\.qa/1'.*the version of Millrace that wrote it"):
        synthesise_shard(config, shard.parent.parent / "plan" / shard.name, shard)
    items = list(read_jsonl(tmp_path / "qa.jsonl"))
    write_jsonl(tmp_path / "qa.jsonl", [{**item, "schema": "millrace.qa/1"} for item in items])
    with pytest.raises(RunFailed, match=r"has the schema 'millrace\.qa/1' where this version reads"):
        trace(tmp_path, items[0]["qa_id"])
