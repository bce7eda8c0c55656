"""Questions about pictures in the forms that trainers and evaluators read: the documented form, and the loaders that are here."""

from __future__ import annotations

import base64
import csv
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from PIL import Image

from millrace.qa.dataset.write_exports import write_exports
from millrace.qa.exports.verl import compute_score
from millrace.qa.settings import QaSettings
from tests.fixtures.questions import Stage


@pytest.fixture(scope="module")
def exported(stage: Stage, accepted: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    write_exports(accepted, folder, stage.lake, QaSettings(exports=("llama_factory", "vlmevalkit", "verl", "openai_chat")))
    return folder


def test_every_file_of_messages_loads_as_one_table(exported: Path, items: list[dict[str, Any]], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = 0
    for path in sorted(
        [*exported.glob("llama_factory/*/*.json"), *exported.glob("verl/*/*.jsonl"), *exported.glob("openai_chat/*/*")]
    ):
        loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path))
        rows += loaded.num_rows
    assert rows == 3 * len(items)


def test_llama_factorys_dataset_info_names_files_columns_and_tags_that_are_there(
    exported: Path, items: list[dict[str, Any]]
) -> None:
    folder = exported / "llama_factory"
    info = orjson.loads((folder / "dataset_info.json").read_bytes())
    assert set(info) == {"verified_train", "verified_heldout"}
    seen = 0
    for entry in info.values():
        tags = entry["tags"]
        for row in orjson.loads((folder / entry["file_name"]).read_bytes()):
            turns = row[entry["columns"]["messages"]]
            assert [turn[tags["role_tag"]] for turn in turns] == [tags["user_tag"], tags["assistant_tag"]]
            images = row[entry["columns"]["images"]]
            assert turns[0][tags["content_tag"]].count("<image>") == len(images) == 1
            assert Image.open(folder / images[0]).size == (224, 224)
            seen += 1
    assert seen == len(items)


def test_llama_factory_itself_converts_every_row(exported: Path) -> None:
    converter = pytest.importorskip("llamafactory.data.converter")
    from llamafactory.data.parser import DatasetAttr

    folder = exported / "llama_factory"
    entry = orjson.loads((folder / "dataset_info.json").read_bytes())["verified_train"]
    attr = DatasetAttr("file", dataset_name="rows")
    attr.join(entry)
    media = type("Arguments", (), {"media_dir": str(folder)})()
    convert = converter.SharegptDatasetConverter(dataset_attr=attr, data_args=media)
    for row in orjson.loads((folder / entry["file_name"]).read_bytes()):
        aligned = convert(row)
        assert [turn["role"] for turn in aligned["_prompt"]] == ["user"]
        assert aligned["_response"] == [{"role": "assistant", "content": row["messages"][1]["content"]}]
        assert [Path(path).exists() for path in aligned["_images"]] == [True]


def test_a_table_for_vlmevalkit_has_its_columns_and_an_image_in_each_row(exported: Path, items: list[dict[str, Any]]) -> None:
    csv.field_size_limit(sys.maxsize)
    by_id = {item["id"]: item for item in items}
    seen = set()
    for path in sorted((exported / "vlmevalkit").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert [row["index"] for row in rows] == [str(place) for place in range(len(rows))]
        for row in rows:
            item = by_id[row["id"]]
            assert Image.open(BytesIO(base64.b64decode(row["image"]))).size == (224, 224)
            assert row["answer"] == item["answer"]
            assert {key: row[key] for key in item["options"]} == item["options"]
            assert ("A" in row) == bool(item["options"])
            seen.add(row["id"])
    assert seen == by_id.keys()


def test_the_reward_pays_every_accepted_answer_and_no_other_option(exported: Path, items: list[dict[str, Any]]) -> None:
    by_id = {item["id"]: item for item in items}
    for line in (exported / "verl" / "verified" / "train.jsonl").read_bytes().splitlines():
        row = orjson.loads(line)
        item, truth, more = by_id[row["extra_info"]["id"]], row["reward_model"]["ground_truth"], row["extra_info"]
        for right in more["accepted"]:
            for reply in (right, f"Answer: {right}.", f"I looked.\n\\boxed{{{right}}}", f"答案：{right}"):
                assert compute_score("", reply, truth, more) == 1, reply
        others = [key for key in item["options"] if key != item["answer"]]
        for wrong in ["", "I cannot tell", *others, *(item["options"][key] for key in others)]:
            assert compute_score("", wrong, truth, more) == 0, wrong
