"""Seeds in every accepted form, and the ways in which they can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.errors import InputError
from millrace.synthesis.runs.shard_plan import plan_shards
from millrace.synthesis.seeds import make_seed, read_seeds
from millrace.synthesis.settings import SynthesisConfig

TEXTS = ["OpenAI", "二次方程", "a text\nof two lines", 'with "quotes"']


def test_a_json_list_json_lines_and_plain_lines_give_the_same_seeds(tmp_path: Path) -> None:
    texts = [text for text in TEXTS if "\n" not in text]
    (tmp_path / "a.json").write_text(json.dumps(texts, ensure_ascii=False))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps(text) for text in texts))
    (tmp_path / "c.txt").write_text("\n".join(texts))
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps({"content": text, "kwargs": {}}) for text in texts))
    read = [[seed.source_id for seed in read_seeds(tmp_path / name)] for name in ("a.json", "b.jsonl", "c.txt", "d.jsonl")]
    assert read[0] == read[1] == read[2] == read[3]
    assert [seed.content for seed in read_seeds(tmp_path / "a.json")] == texts


@given(
    st.lists(
        st.one_of(
            st.text(max_size=50), st.integers(), st.none(), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
        ),
        min_size=1,
    )
)
def test_a_json_list_read_item_by_item_is_the_list(tmp_path_factory: pytest.TempPathFactory, values: list[object]) -> None:
    path = tmp_path_factory.mktemp("seeds") / "seeds.json"
    path.write_text(json.dumps(values))
    assert [seed.source_id for seed in read_seeds(path)] == [make_seed(value, max_chars=20_000).source_id for value in values]


def test_a_seeds_name_does_not_depend_on_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(["x1", "x2", "x3"]))
    (tmp_path / "b.json").write_text(json.dumps(["x3", "new", "x1"]))
    first = {seed.content: seed.source_id for seed in read_seeds(tmp_path / "a.json")}
    second = {seed.content: seed.source_id for seed in read_seeds(tmp_path / "b.json")}
    assert first["x1"] == second["x1"]
    assert first["x3"] == second["x3"]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (5, "seed_not_text"),
        (None, "seed_not_text"),
        ("   ", "seed_empty"),
        ("x" * 10_000_000, "seed_too_long"),
        ({"a": 1}, "seed_not_text"),
    ],
    ids=["number", "null", "blank", "10 MB", "object"],
)
def test_a_bad_seed_is_handed_on_with_its_reason(tmp_path: Path, raw: object, reason: str) -> None:
    (tmp_path / "s.json").write_text(json.dumps(["good", raw, "also good"]))
    assert [seed.problem for seed in read_seeds(tmp_path / "s.json")] == ["", reason, ""]


def test_bytes_that_are_not_utf8_spoil_only_their_own_seed(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_bytes(b"first\n" + b"\xff\xfe bad\n" + "最后\n".encode())
    assert [seed.problem for seed in read_seeds(tmp_path / "s.txt")] == ["", "seed_not_utf8", ""]


def test_a_line_that_is_not_json_spoils_only_itself(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('"one"\n{"content": \n"two"\n')
    assert [seed.problem for seed in read_seeds(tmp_path / "s.jsonl")] == ["", "seed_not_json", ""]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        '{"seeds": ["a"]}',
        '["a", "b"',
        "[1, nonsense]",
        "[]",
        " [ ] ",
        '["a",]',
        '[,"a"]',
        '["a",,"b"]',
        '["a" "b"]',
        '["a"] "b"',
        '["a"]]',
        "# only a comment\n",
        '["a", ',
    ],
)
def test_a_file_that_is_no_list_of_seeds_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seeds.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"seeds\.json"):
        list(read_seeds(path))


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json"):
        list(read_seeds(tmp_path / "nowhere.json"))


def test_repeated_seeds_are_planned_once_and_number_of_seed_takes_the_first(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("a b\nc d\na b\n  c d  \ne f\n")
    plan = plan_shards(SynthesisConfig(environment_mode="math", seeds=tmp_path / "s.txt"), tmp_path / "run")
    assert (plan.lines, plan.seeds) == (5, 3)
    limited = plan_shards(SynthesisConfig(environment_mode="math", seeds=tmp_path / "s.txt", number_of_seed=2), tmp_path / "run2")
    assert (limited.lines, limited.seeds) == (2, 2)


def test_reordered_and_inserted_seeds_are_planned_only_where_they_are_new(tmp_path: Path) -> None:
    seeds = tmp_path / "s.txt"
    config = SynthesisConfig(environment_mode="math", seeds=seeds)
    seeds.write_text("\n".join(f"seed {n}" for n in range(40)))
    before = plan_shards(config, tmp_path / "run").shards
    kept = {path: path.read_bytes() for path in before}
    seeds.write_text("\n".join(f"seed {n}" for n in [*reversed(range(40)), 99]))
    after = plan_shards(config, tmp_path / "run").shards
    assert len(after) == len(before) + 1
    assert {path: path.read_bytes() for path in before} == kept
    assert [json.loads(line)["content"] for line in after[-1].read_text().splitlines()] == ["seed 99"]


def test_half_a_surrogate_pair_spoils_only_its_own_seed(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('["good", "\\ud800", {"content": "x", "kwargs": {"\\udfff": 1}}, "also good"]')
    seeds = list(read_seeds(tmp_path / "s.json"))
    assert [seed.problem for seed in seeds] == ["", "seed_not_unicode", "seed_not_unicode", ""]
    plan = plan_shards(SynthesisConfig(environment_mode="math", seeds=tmp_path / "s.json"), tmp_path / "run")
    assert plan.seeds == 4


def test_a_file_of_comments_holds_no_seed(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("# nothing yet\n")
    with pytest.raises(InputError, match="holds no seed"):
        list(read_seeds(tmp_path / "s.txt"))
