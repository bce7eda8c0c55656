"""The atlas of an experiment: the base and one model of each arm on the same test images, opened from the report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from millrace.improve.judging import models_atlas
from millrace.improve.judging.judged import Judged, judged_together
from millrace.improve.judging.models_atlas import write_models_atlas
from millrace.improve.plan import BASE
from millrace.records.improve import Plan
from millrace.records.outcome import FAILURES
from millrace.run.journal import read_json, read_jsonl, read_record

ARMS = {BASE: BASE, **{arm: f"{arm}-0" for arm in ("untargeted", "targeted", "shuffled", "untargeted_again")}}
Row = dict[str, list[str]]


def content_of(folder: Path) -> dict[str, Any]:
    """The data in the atlas's page."""
    packed = re.search(r'id="data">(.*?)</script>', (folder / "atlas" / "index.html").read_text(), re.DOTALL)
    assert packed
    content: dict[str, Any] = json.loads(packed[1])
    return content


def rows_of(folder: Path) -> list[Row]:
    """The samples: dimension → its values."""
    content = content_of(folder)
    return [
        {
            one["name"]: [one["values"][number] for number in numbers]
            for one, numbers in zip(content["dimensions"], row[1], strict=True)
        }
        for row in content["rows"]
    ]


def failures_by_hand(folder: Path, model: str) -> dict[tuple[str, str, str], bool]:
    """What was asked → whether the model failed, from its journal."""
    return {
        (line["image"]["sha256"], line["claim_id"], str(line["prefilled"])): line["outcome"] in FAILURES
        for shard in (folder / "probes" / model).glob("shard-*.jsonl")
        for line in read_jsonl(shard)
    }


def test_the_atlas_has_the_base_and_the_first_model_of_each_arm_on_every_thing_asked(done: Path) -> None:
    rows = rows_of(done / "improve")
    asked = read_json(done / "improve" / "summary.json")["out"]
    counts = {arm: sum(row["arm"] == [arm] for row in rows) for arm in ARMS}
    assert counts == dict.fromkeys(ARMS, asked)
    assert len(rows) == asked * len(ARMS)
    assert any(row["factor"] == ["none"] for row in rows)
    assert any(len(row["factor"]) == 2 for row in rows)


def test_worse_and_better_are_what_the_journals_say_against_the_base(done: Path) -> None:
    rows, before = rows_of(done / "improve"), failures_by_hand(done / "improve", BASE)
    for arm, model in ARMS.items():
        after = failures_by_hand(done / "improve", model)
        expected = {
            "worse": sum(after[key] and not before[key] for key in before),
            "better": sum(before[key] and not after[key] for key in before),
        }
        found = {change: sum(row["arm"] == [arm] and row["change"] == [change] for row in rows) for change in expected}
        assert found == expected, arm
        assert (sum(found.values()) > 0) is (arm != BASE)


def test_the_report_links_to_changes_that_the_atlas_has(done: Path) -> None:
    page = (done / "improve" / "report.html").read_text()
    links = set(re.findall(r'href="atlas/index.html#change=(\w+)"', page))
    change = next(one for one in content_of(done / "improve")["dimensions"] if one["name"] == "change")
    assert links == {"worse", "better"} <= set(change["values"])
    assert 'href="../report.html"' in (done / "improve" / "atlas" / "index.html").read_text()


def test_more_images_than_there_is_room_for_are_counted_in_the_page(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_atlas, "MOST_IMAGES", 3)
    plan = read_record(done / "improve" / "plan.json", Plan)
    folders = {model: done / "improve" / "probes" / model for model in (BASE, "targeted-1")}
    judged: Judged = judged_together(BASE, folders, plan.test)
    lake = Path(read_json(folders[BASE] / "summary.json")["lake"])
    (tmp_path / "probes").symlink_to(done / "improve" / "probes")
    write_models_atlas(tmp_path, judged, ["targeted-1"], lake)
    shown = len(content_of(tmp_path)["rows"])
    assert len(content_of(tmp_path)["ids"]) == 3
    left_out = 2 * len(judged.keys) - shown
    assert re.search(rf"\b{left_out:,}\b|\b{left_out}\b", (tmp_path / "atlas" / "index.html").read_text().split("<script")[0])
