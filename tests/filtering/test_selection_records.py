"""The records that the question stage gets: shape, lineage, images, resume."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from millrace.errors import ItemFailed, UsageError
from millrace.filtering.outcome_files import plan_parts
from millrace.filtering.routing import PIPELINES, load_routes, parse_routes
from millrace.filtering.scan import scan_part
from millrace.filtering.selection import select_failures
from millrace.filtering.selection_shards import images_of, write_shard
from millrace.filtering.settings import FilteringSettings
from millrace.lake.parquet import LakeRow, stream_rows
from millrace.records.outcome import ImagePlace
from millrace.run.journal import read_jsonl
from tests.filtering.filtered import filter_outcomes

Make = Callable[..., dict[str, Any]]
MakeMany = Callable[[int], list[dict[str, Any]]]
Write = Callable[..., Path]


def only_record(folder: Path) -> dict[str, Any]:
    [record] = read_jsonl(folder / "shard-00000.jsonl")
    return record


def test_a_record_has_the_original_fields_and_the_whole_lineage(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    source = outcome(1)
    filter_outcomes(as_lines([source]), tmp_path / "out", FilteringSettings(start_index=20000))
    record = only_record(tmp_path / "out")
    assert record["sample_index"] == 20000
    assert record["source_a"]["id"] == record["source_a"]["original_id"] == "img_1"
    assert record["source_a"]["image_path"] == "part-1.parquet"
    assert "jpg" not in record["source_a"]
    assert record["prefill"] == {"claim": source["claim"], "prefilled_values": {"OBJECT_TYPE": "red digits"}}
    assert record["pipeline_type"] == "object_counting"
    assert record["pipeline_name"] == "Object Counting Pipeline"
    assert record["failure_id"] == "FR_OBJECT_COUNTING_CONFUSION"
    lineage = record["lineage"]
    assert lineage["outcome_id"] == source["id"]
    assert lineage["baseline"] == source["baseline"]
    assert lineage["correct"] == {"COUNT": "2"}
    assert lineage["factors"] == ["noise"]
    assert lineage["judge"]["kind"] == "verified"


def test_ids_come_from_content_and_numbers_from_the_start_index(outcomes: MakeMany, as_lines: Write, tmp_path: Path) -> None:
    path = as_lines(outcomes(50))
    first = filter_outcomes(path, tmp_path / "a", FilteringSettings(shard_size=7))
    second = filter_outcomes(path, tmp_path / "b", FilteringSettings(shard_size=20, start_index=100))
    records = [[r for shard in report.shards for r in read_jsonl(Path(shard))] for report in (first, second)]
    assert [r["id"] for r in records[0]] == [r["id"] for r in records[1]]
    assert [r["sample_index"] for r in records[1]] == list(range(100, 100 + second.kept))


def test_images_are_embedded_on_request(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    config = FilteringSettings(embed_images=True)
    filter_outcomes(as_lines([outcome(1)]), tmp_path / "out", config, fetch_image=lambda image: image.image_id.encode())
    assert base64.b64decode(only_record(tmp_path / "out")["source_a"]["jpg"]) == b"img_1"


def test_embedded_images_come_from_the_lake_as_they_are_stored(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    pytest.importorskip("millrace.digits.lake_build").build_lake(tmp_path / "lake", images=3, pool="probe", seed=1)
    rows = list(stream_rows(tmp_path / "lake" / "lake-00000.parquet"))
    records = [outcome(n, image={**msgspec.to_builtins(row.ref)}) for n, row in enumerate(rows)]
    records[1]["image"]["sha256"] = "0" * 16
    report = filter_outcomes(
        as_lines(records), tmp_path / "out", FilteringSettings(embed_images=True), fetch_image=images_of(tmp_path / "lake")
    )
    assert (report.kept, report.dropped) == (2, {"image_changed": 1})
    stored = {row.ref.image_id: row.image_bytes for row in rows if isinstance(row, LakeRow)}
    for record in read_jsonl(tmp_path / "out/shard-00000.jsonl"):
        assert base64.b64decode(record["source_a"]["jpg"]) == stored[record["source_a"]["id"]]


def test_an_image_that_cannot_be_embedded_costs_its_record_and_says_why(outcome: Make, as_lines: Write, tmp_path: Path) -> None:
    def fetch(image: ImagePlace) -> bytes:
        if image.image_id == "img_2":
            raise ItemFailed("truncated_image", "it ends early")
        return b"jpeg"

    report = filter_outcomes(as_lines([outcome(n) for n in range(4)]), tmp_path / "out", FilteringSettings(), fetch_image=fetch)
    assert report.kept == 3
    assert report.dropped == {"truncated_image": 1}
    [lost] = read_jsonl(tmp_path / "out/rejected/shard-00000.jsonl")
    assert (lost["reason"], lost["detail"]) == ("truncated_image", "it ends early")


def test_a_shard_that_is_there_is_not_written_again(outcomes: MakeMany, as_lines: Write, tmp_path: Path) -> None:
    routes = load_routes("default")
    config = FilteringSettings(shard_size=10)
    [part] = plan_parts([as_lines(outcomes(30))])
    plans = select_failures([scan_part(part, seed=1)], config, routes).shards
    first = write_shard(plans[0], tmp_path / "s.jsonl", routes)
    before = (tmp_path / "s.jsonl").stat()
    assert write_shard(plans[0], tmp_path / "s.jsonl", routes) == first
    assert (tmp_path / "s.jsonl").stat().st_ino == before.st_ino


def test_an_array_is_written_beside_the_shards_on_request(outcomes: MakeMany, as_lines: Write, tmp_path: Path) -> None:
    report = filter_outcomes(as_lines(outcomes(40)), tmp_path / "out", FilteringSettings(output_format="json", shard_size=9))
    array = orjson.loads((tmp_path / "out/selection.json").read_bytes())
    assert array == [r for shard in report.shards for r in read_jsonl(Path(shard))]
    # and it can be read back: an array of nothing is an array
    filter_outcomes(as_lines([], "none.jsonl"), tmp_path / "none", FilteringSettings(output_format="json"))
    assert orjson.loads((tmp_path / "none/selection.json").read_bytes()) == []


def test_every_shipped_failure_id_has_a_route_to_a_pipeline_that_exists() -> None:
    routes = load_routes("default").by_failure
    assert len(routes) == 14
    assert {route.pipeline_type for route in routes.values()} == set(PIPELINES)


def test_the_original_mapping_json_loads_and_its_default_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pipeline_config.json"
    rows = [{"failure_key": "FR_A", "pipeline_type": "caption", "pipeline_name": "Captions"}]
    path.write_bytes(orjson.dumps({"pipelines": rows, "default_pipeline_type": "unknown", "default_pipeline_name": "unknown"}))
    routes = load_routes(str(path))
    assert routes.by_failure["FR_A"].pipeline_type == "caption"
    assert "default_pipeline_type is not used" in caplog.text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"failure_id": "FR_A", "pipeline_type": "object_countng"}], "did you mean 'object_counting'"),
        ([{"failure_id": "FR_A", "pipeline_type": "unknown"}], "no question pipeline named 'unknown'"),
        ([{"pipeline_type": "caption"}], "'failure_id' is missing"),
        ([{"failure_id": "FR_A", "pipeline_type": "caption", "pipline_name": "x"}], "unknown key 'pipline_name'"),
        (
            [{"failure_id": "FR_A", "pipeline_type": "caption"}, {"failure_id": "FR_A", "pipeline_type": "question"}],
            "row 2: 'FR_A' already goes to 'caption'",
        ),
        ([], "must be a list of rows"),
        (["x"], "row 1: must be a mapping"),
    ],
)
def test_a_wrong_routing_table_is_refused_with_its_place(rows: list[Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_routes({"pipelines": rows}, where="routes.yaml")


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no routing table named 'defualt'; did you mean 'default'"):
        load_routes("defualt")
