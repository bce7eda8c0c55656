"""The page of a comparison: one look, nothing loaded, nothing believed that comes from outside."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from millrace.compare.gallery import in_words
from millrace.compare.runs import Answer
from millrace.lake.reader import LakeReader
from millrace.lake.rows import ImageRef
from millrace.run.journal import read_json, write_json
from tests.compare.made_runs import compared, journal, made_run, outcome, two_runs


def test_the_page_has_the_verdict_every_claim_and_what_was_left_out(tmp_path: Path) -> None:
    runs = two_runs(
        tmp_path,
        lambda image, claim: "wrong" if image < 12 else "correct",
        lambda image, claim: "infra_error" if image == 39 else "correct",
    )
    compared(tmp_path / "c", *runs)
    page = (tmp_path / "c" / "report.html").read_text()
    assert "“two” fails less often than “one”" in page
    for words in ("counting", "position", "infra error after", "What got better", "no harm"):
        assert words in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_words_from_outside_are_only_words(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    first = [outcome(image, "counting", "wrong", model=hostile, subject=hostile) for image in range(8)]
    second = [outcome(image, "counting", "correct", model="two", subject=hostile) for image in range(8)]
    compared(tmp_path / "c", made_run(tmp_path / "a", first), made_run(tmp_path / "b", second))
    page = (tmp_path / "c" / "report.html").read_text()
    assert hostile not in page
    assert "&lt;img src=x" in page


def test_a_flip_is_shown_with_its_picture_from_whichever_lake_still_has_it(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    lake = tmp_path / "b" / "lake"
    runs = two_runs(tmp_path, lambda image, claim: "correct", lambda image, claim: "wrong" if image == 3 else "correct")
    lake.mkdir()
    pq.write_table(pa.table({"image_id": [f"img{row}" for row in range(40)], "jpg": [file.getvalue()] * 40}), lake / "a.parquet")
    row = LakeReader(lake).read(ImageRef("img3", "a.parquet", 3, ""))
    for run in runs:
        for shard in (run / "probing").glob("shard-*.jsonl"):
            shard.write_text(shard.read_text().replace(f"{3:016x}", row.ref.sha256))
    compared(tmp_path / "c", *runs)
    page = (tmp_path / "c" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2
    assert "the image cannot be shown" not in page


def test_a_picture_that_is_gone_is_said_to_be_gone(tmp_path: Path) -> None:
    runs = two_runs(tmp_path, lambda image, claim: "correct", lambda image, claim: "wrong" if image == 3 else "correct")
    compared(tmp_path / "c", *runs)
    assert (tmp_path / "c" / "report.html").read_text().count("the image cannot be shown") == 2


def test_at_most_so_many_flips_of_each_kind_are_shown_in_turn_from_each_claim(tmp_path: Path) -> None:
    runs = two_runs(
        tmp_path,
        lambda image, claim: "wrong" if image < 20 else "correct",
        lambda image, claim: "wrong" if image >= 20 else "correct",
    )
    compared(tmp_path / "c", *runs, flips_shown=3)
    page = (tmp_path / "c" / "report.html").read_text()
    assert page.count('<article class="card example">') == 6
    worse = page.split('id="worse"')[1].split("</section>")[0]
    assert {worse.count('<span class="tag">counting</span>'), worse.count('<span class="tag">position</span>')} == {1, 2}


def test_two_models_of_one_name_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    lines = journal(range(8), lambda image, claim: "correct")
    runs = made_run(tmp_path / "a", lines), made_run(tmp_path / "b", lines, baseline={"name": "guess", "seed": 7})
    summary = compared(tmp_path / "c", *runs)
    assert [summary["sides"][side]["label"] for side in ("before", "after")] == ["m (seed 0)", "m (seed 7)"]
    same = made_run(tmp_path / "d", lines)
    summary = compared(tmp_path / "e", runs[0], same)
    assert [summary["sides"][side]["label"] for side in ("before", "after")] == ["m in a", "m in d"]
    assert "Both sides are the same model" in (tmp_path / "e" / "report.html").read_text()


def test_a_run_that_stopped_at_a_target_says_so(tmp_path: Path) -> None:
    lines = journal(range(8), lambda image, claim: "wrong" if image == 7 else "correct")
    runs = made_run(tmp_path / "a", lines, target_failure_count=2), made_run(tmp_path / "b", lines)
    compared(tmp_path / "c", *runs)
    assert "The run before stopped after 2 failures" in (tmp_path / "c" / "report.html").read_text()


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "no answer"),
        ({"related": False, "values": {}}, "does not apply"),
        ({"related": True, "values": {"A": "up", "B": "red"}}, "up, red"),
        ({"related": True, "values": {}, "raw": "gibberish"}, "gibberish"),
        ({"related": True, "values": {}, "raw": None}, "cannot be read"),
    ],
)
def test_an_answer_is_shown_in_words(said: dict[str, object] | None, words: str) -> None:
    line = {**outcome(1, "counting", "wrong"), "baseline": said}
    assert in_words(msgspec.convert(line, Answer)) == words


def test_the_folder_of_a_model_probed_here_is_read_again_for_the_report(tmp_path: Path) -> None:
    """As the flow leaves it: the section of each probing beside that of the comparison."""
    from millrace.compare.results import sides_in
    from millrace.compare.settings import CompareSettings

    runs = two_runs(tmp_path, lambda image, claim: "correct", lambda image, claim: "correct")
    folder = tmp_path / "c"
    folder.mkdir()
    config = {side: read_json(run / "config.json")["probing"] for side, run in zip(("before", "after"), runs, strict=True)}
    write_json(folder / "config.json", config)
    chosen = CompareSettings.model_validate({side: {"baseline": {"name": "guess"}} for side in ("before", "after")})
    assert [side.folder for side in sides_in(folder, chosen)] == [folder / "before", folder / "after"]


def test_every_flip_and_nothing_else_is_in_the_atlas_with_both_answers_got_worse_first(tmp_path: Path) -> None:
    runs = two_runs(
        tmp_path,
        lambda image, claim: "wrong" if image < 20 else "correct",
        lambda image, claim: "wrong" if image >= 35 else "correct",
    )
    compared(tmp_path / "c", *runs, flips_shown=3)
    packed = re.search(r'id="data">(.*?)</script>', (tmp_path / "c" / "atlas" / "index.html").read_text(), re.DOTALL)
    assert packed
    content = json.loads(packed[1])
    change, claim, factor, before, after = content["dimensions"]
    assert [dimension["title"] for dimension in (before, after)] == ["Before: one", "After: two"]
    read = [
        [one["values"][index[0]] for one, index in zip(content["dimensions"], row[1], strict=True)] for row in content["rows"]
    ]
    assert len(read) == 2 * (20 + 5)
    assert {tuple(line[::4]) for line in read[:10]} == {("worse", "wrong")}
    assert {(line[0], line[3], line[4]) for line in read[10:]} == {("better", "wrong", "correct")}
    assert {line[1] for line in read} == {"counting", "position"} == set(claim["values"])
    assert {line[2] for line in read} == {"dark", "none"} == set(factor["values"])
    page = (tmp_path / "c" / "report.html").read_text()
    links = set(re.findall(r'href="atlas/index.html#change=(\w+)"', page))
    assert links == {"worse", "better"} == set(change["values"])
