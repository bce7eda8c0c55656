"""The dataset as its users get it."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from millrace.errors import UsageError
from millrace.qa.dataset.dataset_card import CardFacts, dataset_card
from millrace.qa.dataset.write_dataset import split_of, write_dataset
from millrace.qa.dataset.write_exports import write_exports
from millrace.qa.settings import DatasetSettings, QaSettings
from millrace.records.summaries import BlindGuess, DatasetReport, FilteringSummary, RateSummary
from millrace.run.journal import read_jsonl, write_jsonl
from tests.fixtures.questions import Stage, as_item

Item = dict[str, Any]


@pytest.fixture(scope="module")
def made(stage: Stage, accepted: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetReport]:
    folder = tmp_path_factory.mktemp("made")
    facts = CardFacts(
        failure_rates={"counting": RateSummary(n=10, failures=4, rate=0.4, low=0.17, high=0.69)},
        baseline="embedded",
        lake="digit scenes",
        funnel={"filtering": FilteringSummary(came_in=20, went_out=18, dropped={"no_subject": 2}, balance={}, shards=())},
        blind={"multiple_choice by words": BlindGuess(n=100, right=26, chance=0.25, low=0.18, high=0.35)},
    )
    report = write_dataset(accepted, folder / "dataset", folder / "lost.jsonl", stage.lake, QaSettings(), facts)
    return folder / "dataset", report


def test_load_dataset_reads_the_folder_as_it_is(made: tuple[Path, DatasetReport], items: list[Item], tmp_path: Path) -> None:
    """In a process of its own: the library takes seconds to import and keeps caches."""
    program = f"""
import datasets, json, sys
loaded = datasets.load_dataset({str(made[0])!r}, cache_dir={str(tmp_path / "cache")!r})
rows = {{split: rows.num_rows for split, rows in loaded.items()}}
features = loaded["train"].features
assert isinstance(features["image"], datasets.Image), features["image"]
assert features["options"].feature.keys() == {{"key", "text"}}, features["options"]
first = loaded["train"][0]
assert first["image"].size == (224, 224)
assert first["verification"]["status"] == "verified"
ids = [id for split in loaded.values() for id in split["id"]]
print(json.dumps({{"rows": rows, "ids": ids, "first": {{k: v for k, v in first.items() if k != "image"}}}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = orjson.loads(done.stdout.splitlines()[-1])
    assert sorted(told["ids"]) == sorted(item["id"] for item in items)
    assert told["rows"] == made[1].splits["verified"]
    source = next(item for item in items if item["id"] == told["first"]["id"])
    assert told["first"]["options"] == [{"key": key, "text": text} for key, text in source["options"].items()]
    assert told["first"]["answer"] == source["answer"]
    assert told["first"]["lineage"]["outcome_id"] == source["lineage"]["outcome_id"]


def test_no_image_is_in_both_splits_and_both_have_some(made: tuple[Path, DatasetReport]) -> None:
    images: dict[str, set[str]] = {}
    for file in made[0].glob("verified/*.parquet"):
        for row in pq.read_table(file, columns=["image", "lineage"]).to_pylist():
            images.setdefault(file.name.split("-")[0], set()).add(sha256(row["image"]["bytes"]).hexdigest())
            assert row["lineage"]["image"]["sha256"] == sha256(row["image"]["bytes"]).hexdigest()[:16]
    assert images.keys() == {"train", "heldout"}
    assert not images["train"] & images["heldout"]
    assert {split: len(names) for split, names in images.items()} == made[1].images


def test_the_manifest_lists_every_file_with_its_hash(made: tuple[Path, DatasetReport]) -> None:
    folder, report = made
    found = {str(file.relative_to(folder)): sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*.parquet")}
    assert found == {name: told.sha256 for name, told in report.files.items()}
    assert sum(told.rows for told in report.files.values()) == report.rows == report.seen


def test_the_card_has_a_header_for_machines_and_the_figures_for_people(made: tuple[Path, DatasetReport]) -> None:
    text = (made[0] / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["configs"][0]["config_name"] == "verified"
    assert {entry["split"] for entry in told["configs"][0]["data_files"]} == {"train", "heldout"}
    for piece in (
        "40.0% (17.0% to 69.0%)",
        "`embedded`",
        "no_subject 2",
        "## Limits",
        "| multiple_choice by words | 100 | 26.0% |",
    ):
        assert piece in body, piece


def test_the_card_says_that_difficulty_in_chinese_means_nothing_for_a_model_that_reads_english(
    made: tuple[Path, DatasetReport],
) -> None:
    def said(language: Literal["en", "zh"], baseline: str) -> bool:
        asked = RateSummary(n=10, failures=8, rate=0.8, low=0.5, high=0.9)
        report = msgspec.structs.replace(made[1], baseline=asked)
        card = dataset_card(report, QaSettings(language=language), CardFacts(baseline=baseline))
        return "means nothing here" in card

    assert said("zh", "embedded")
    assert not said("en", "embedded")
    assert not said("zh", "endpoint")


def test_writing_again_changes_nothing_and_what_a_kill_left_is_swept_up(
    made: tuple[Path, DatasetReport], stage: Stage, accepted: list[Path], tmp_path: Path
) -> None:
    folder, report = made
    again = write_dataset(accepted, folder, folder.parent / "lost.jsonl", stage.lake, QaSettings(), CardFacts())
    assert again == report
    left = tmp_path / ".dataset.building" / "verified"
    left.mkdir(parents=True)
    (left / "train-00000.parquet").write_bytes(b"half a file")
    write_dataset(accepted, tmp_path / "dataset", tmp_path / "lost.jsonl", stage.lake, QaSettings(), CardFacts())
    assert not (tmp_path / ".dataset.building").exists()
    for file in folder.rglob("*.parquet"):
        assert (tmp_path / "dataset" / file.relative_to(folder)).read_bytes() == file.read_bytes()


def test_somebody_elses_folder_is_not_overwritten(stage: Stage, accepted: list[Path], tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="is in the way"):
        write_dataset(accepted, tmp_path / "dataset", tmp_path / "l.jsonl", stage.lake, QaSettings(), CardFacts())
    assert (tmp_path / "dataset" / "thesis.txt").exists()


def test_files_are_cut_at_their_size_and_hold_every_row_once(
    stage: Stage, accepted: list[Path], items: list[Item], tmp_path: Path
) -> None:
    qa = QaSettings(dataset=DatasetSettings(rows_per_file=40, heldout_share=0.5))
    report = write_dataset(accepted, tmp_path / "dataset", tmp_path / "l.jsonl", stage.lake, qa, CardFacts())
    assert max(told.rows for told in report.files.values()) == 40
    ids = [row["id"] for file in report.files for row in pq.read_table(tmp_path / "dataset" / file, columns=["id"]).to_pylist()]
    assert sorted(ids) == sorted(item["id"] for item in items)
    small = QaSettings(dataset=DatasetSettings(bytes_per_file=100_000))
    by_bytes = write_dataset(accepted, tmp_path / "small", tmp_path / "l.jsonl", stage.lake, small, CardFacts())
    assert len(by_bytes.files) > 4


def with_statuses(accepted: list[Path], path: Path) -> Path:
    items = [item for shard in accepted for item in read_jsonl(shard)][:60]
    for number, item in enumerate(items):
        item["verification"]["status"] = ("verified", "judged", "unverified")[number % 3]
    write_jsonl(path, items)
    return path


def test_kinds_of_evidence_never_share_a_file(stage: Stage, accepted: list[Path], tmp_path: Path) -> None:
    shard = with_statuses(accepted, tmp_path / "mixed.jsonl")
    qa = QaSettings(exports=("llava", "openai_chat", "original"))
    report = write_dataset([shard], tmp_path / "dataset", tmp_path / "l.jsonl", stage.lake, qa, CardFacts())
    assert {status: sum(splits.values()) for status, splits in report.splits.items()} == dict.fromkeys(
        ("judged", "unverified", "verified"), 20
    )
    for name in report.files:
        statuses = {row["verification"]["status"] for row in pq.read_table(tmp_path / "dataset" / name).to_pylist()}
        assert statuses == {name.split("/")[0]}
    header = yaml.safe_load((tmp_path / "dataset/README.md").read_text().split("---\n")[1])
    assert [(entry["config_name"], entry["default"]) for entry in header["configs"]] == [
        ("verified", True),
        ("judged", False),
        ("unverified", False),
    ]
    write_exports([shard], tmp_path / "exports", stage.lake, qa)
    by_id = {item["id"]: item["verification"]["status"] for item in read_jsonl(shard)}
    for status in ("verified", "judged", "unverified"):
        for split in ("train", "heldout"):
            for record in orjson.loads((tmp_path / f"exports/llava/{status}/{split}.json").read_bytes()):
                assert by_id[record["id"]] == status


def test_an_item_whose_image_has_gone_is_counted_and_listed(stage: Stage, accepted: list[Path], tmp_path: Path) -> None:
    items = list(read_jsonl(accepted[0]))[:5]
    items[2]["source_a"]["sha256"] = "f" * 16
    write_jsonl(tmp_path / "s.jsonl", items)
    report = write_dataset([tmp_path / "s.jsonl"], tmp_path / "d", tmp_path / "lost.jsonl", stage.lake, QaSettings(), CardFacts())
    assert (report.seen, report.rows, report.dropped) == (5, 4, {"image_changed": 1})
    [lost] = read_jsonl(tmp_path / "lost.jsonl")
    assert (lost["id"], lost["stage"]) == (items[2]["id"], "dataset")


@pytest.fixture(scope="module")
def exported(stage: Stage, accepted: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    counts = write_exports(accepted, folder, stage.lake, QaSettings(exports=("llava", "openai_chat", "original")))
    assert len(set(counts.values())) == 1
    assert write_exports(accepted, folder, stage.lake, QaSettings(exports=("llava",))) == {"llava": counts["llava"]}
    return folder


def test_llava_conversations_point_to_image_files_that_are_there(exported: Path, items: list[Item]) -> None:
    by_id = {item["id"]: item for item in items}
    seen = set()
    for split in ("train", "heldout"):
        for record in orjson.loads((exported / f"llava/verified/{split}.json").read_bytes()):
            item = by_id[record["id"]]
            assert split_of(as_item(item), None, QaSettings()) == split
            assert Image.open(exported / "llava" / record["image"]).size == (224, 224)
            human, gpt = record["conversations"]
            assert human["from"] == "human"
            assert human["value"].startswith("<image>\n" + item["full_question"])
            assert (gpt["from"], gpt["value"]) == ("gpt", item["answer"])
            seen.add(record["id"])
    assert seen == by_id.keys()


def test_chat_messages_carry_the_image_as_a_data_url(exported: Path) -> None:
    import base64

    for record in read_jsonl(exported / "openai_chat/verified/heldout.jsonl"):
        user, assistant = record["messages"]
        text, image = user["content"]
        kind, data = image["image_url"]["url"].split(";base64,")
        decoded = Image.open(BytesIO(base64.b64decode(data)))
        assert kind == f"data:image/{str(decoded.format).lower()}"
        assert text["type"] == "text"
        assert assistant["role"] == "assistant"
        assert assistant["content"]


def test_the_originals_final_json_has_its_fields_in_its_order(exported: Path, items: list[Item]) -> None:
    folder = exported / "original/verified/train"
    everything = orjson.loads((folder / "vqa_dataset_successful_all.json").read_bytes())
    assert list(everything[0]) == [
        "id",
        "sample_index",
        "source_a_id",
        "trace_id",
        "question",
        "full_question",
        "answer",
        "question_type",
        "image_base64",
        "options",
        "correct_option",
        "explanation",
        "pipeline_name",
        "pipeline_intent",
        "answer_type",
        "validation_passed",
        "validation_score",
        "generated_at",
        "timestamp",
    ]
    meta = orjson.loads((folder / "meta.json").read_bytes())
    assert meta["successful_vqa_count"] == len(everything) == sum(meta["pipeline_counts"].values())
    for pipeline, count in meta["pipeline_counts"].items():
        part = orjson.loads((folder / meta["pipeline_output_files"][pipeline]).read_bytes())
        assert len(part) == count
        assert {record["pipeline_name"] for record in part} == {pipeline}


def test_an_unknown_export_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no export named 'lava'; did you mean 'llava'"):
        write_exports([], tmp_path, None, QaSettings(exports=("lava",)))


def test_nothing_to_write_is_a_dataset_of_no_rows(tmp_path: Path) -> None:
    report = write_dataset([], tmp_path / "dataset", tmp_path / "l.jsonl", None, QaSettings(), CardFacts())
    assert (report.rows, report.files) == (0, {})
    assert "0 questions" in (tmp_path / "dataset/README.md").read_text()
