"""The atlas: every sample behind a report, filtered in the page, and opened by links."""

from __future__ import annotations

import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from millrace.lake.reader import LakeReader
from millrace.records.lake import ImageRef
from millrace.reporting.atlas.page import link_to, write_atlas
from millrace.reporting.atlas.samples import Dimension, Sample, pack
from millrace.reporting.atlas.sheets import COLUMNS, PER_SHEET, SIDE_PX

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DIMENSIONS = [
    Dimension("claim", "Claim", titles={"c0": "Counting <b>things</b>"}),
    Dimension("outcome", "Outcome", groups={"failures": ["wrong", "never seen"]}, colours=True),
    Dimension("factor", "Factor"),
]
HOSTILE = "</script><script>document.title='broken into'</script><img src=x onerror=document.title='broken_into'>\u2028"


def lake_of(folder: Path, colours: list[tuple[int, int, int]]) -> list[ImageRef]:
    """A lake of pictures of one colour each, and refs to them."""
    pictures = []
    for colour in colours:
        file = BytesIO()
        Image.new("RGB", (40, 20), colour).save(file, "PNG")
        pictures.append(file.getvalue())
    ids = [f"img_{number}" for number in range(len(colours))]
    folder.mkdir()
    pq.write_table(pa.table({"image_id": ids, "jpg": pictures}), folder / "a.parquet")
    return [ImageRef(name, "a.parquet", number, "") for number, name in enumerate(ids)]


def samples_of(refs: list[ImageRef]) -> list[Sample]:
    """Two claims about each picture; each third is wrong at the first."""
    return [
        Sample(
            ref,
            {
                "claim": f"c{claim}",
                "outcome": "wrong" if not claim and not number % 3 else "correct",
                "factor": ("dark", "small"),
            },
            f"claim {claim} about {number}" if number else HOSTILE,
            (("The model", HOSTILE),),
        )
        for number, ref in enumerate(refs)
        for claim in (0, 1)
    ]


def content_of(page: Path) -> dict[str, list]:
    """The data in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    content: dict[str, list] = json.loads(found[1])
    return content


def test_every_sample_is_in_the_page_with_its_values_and_its_picture_in_its_cell(tmp_path):
    colours = [(number, 255 - number, 100) for number in range(PER_SHEET + 3)]
    refs = lake_of(tmp_path / "lake", colours)
    page = write_atlas(tmp_path, samples_of(refs), DIMENSIONS, [LakeReader(tmp_path / "lake")], title="All")
    content = content_of(page)
    assert content["ids"] == [ref.image_id for ref in refs]
    assert len(content["rows"]) == 2 * len(refs)
    claim, outcome, factor = content["dimensions"]
    assert (claim["values"], claim["titles"]) == (["c0", "c1"], ["Counting <b>things</b>", "c1"])
    assert outcome["groups"] == {"failures": [outcome["values"].index("wrong")]}
    assert [factor["values"][number] for number in content["rows"][0][1][2]] == ["dark", "small"]
    for number in (0, 57, PER_SHEET + 2):
        sheet = Image.open(page.parent / f"sheet-{number // PER_SHEET:03}.jpg").convert("RGB")
        place = number % PER_SHEET
        centre = ((place % COLUMNS) * SIDE_PX + SIDE_PX // 2, (place // COLUMNS) * SIDE_PX + SIDE_PX // 2)
        assert all(abs(a - b) < 8 for a, b in zip(sheet.getpixel(centre), colours[number], strict=True))
    assert sorted(file.name for file in page.parent.glob("sheet-*")) == ["sheet-000.jpg", "sheet-001.jpg"]


def test_texts_cannot_end_the_element_that_they_stand_in(tmp_path):
    refs = lake_of(tmp_path / "lake", [(1, 2, 3)])
    page = write_atlas(tmp_path, samples_of(refs), DIMENSIONS, [LakeReader(tmp_path / "lake")], title="<i>x</i>")
    text = page.read_text()
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "<i>x" not in text
    assert content_of(page)["rows"][0][2] == HOSTILE


def test_more_pictures_than_there_is_room_for_are_counted_and_so_are_those_that_are_gone(tmp_path):
    refs = lake_of(tmp_path / "lake", [(1, 2, 3)] * 4)
    assert pack(samples_of(refs), DIMENSIONS, most_images=3).left_out == 2
    gone = ImageRef("gone", "b.parquet", 0, "")
    page = write_atlas(
        tmp_path, samples_of([*refs, gone])[2:], DIMENSIONS, [LakeReader(tmp_path / "lake")], title="x", most_images=4
    )
    text = page.read_text()
    assert "1 pictures can no longer be read" in text
    assert "samples about further pictures" not in text


def test_the_same_samples_give_the_same_bytes(tmp_path):
    refs = lake_of(tmp_path / "lake", [(9, 9, 9), (50, 50, 50)])
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        page = write_atlas(tmp_path / name, samples_of(refs), DIMENSIONS, [LakeReader(tmp_path / "lake")], title="x")
        made.append([(file.name, file.read_bytes()) for file in sorted(page.parent.iterdir())])
    assert made[0] == made[1]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_page_filters_opens_links_and_runs_nothing_of_what_it_shows(tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is in the extra `test`")
    refs = lake_of(tmp_path / "lake", [(number, 10, 10) for number in range(200)])
    page_file = write_atlas(tmp_path, samples_of(refs), DIMENSIONS, [LakeReader(tmp_path / "lake")], title="All samples")
    address = page_file.as_uri()
    assert link_to(claim="c0", outcome="failures", factor="").endswith("index.html#claim=c0&outcome=failures")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.goto(f"{address}#claim=c0&outcome=failures")
        count = page.locator("#count")
        assert count.inner_text() == "67 of 400 samples"
        assert page.locator("#f-outcome").input_value() == "failures"
        assert page.locator("#samples button").count() == 67
        page.locator("#f-outcome").select_option("correct")
        assert count.inner_text() == "133 of 400 samples"
        assert page.url == f"{address}#claim=c0&outcome=correct"
        page.get_by_role("button", name="Show all").click()
        assert count.inner_text() == "400 of 400 samples"
        page.locator("#samples button").first.click()
        assert HOSTILE[:20] in page.locator("dialog").inner_text()
        page.get_by_role("button", name="Close").click()
        page.locator("#f-text").fill("about 77")
        assert count.inner_text() == "2 of 400 samples"
        shown = page.locator("#samples .thumb").first.evaluate("element => getComputedStyle(element).backgroundImage")
        assert "sheet-000.jpg" in shown
        assert page.title() == "All samples"
        assert not problems
        browser.close()
