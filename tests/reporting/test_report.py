from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from millrace.records.question import CheckResult
from millrace.reporting import charts
from millrace.reporting.full_report import (
    OUTCOMES,
    FunnelStage,
    JudgesResult,
    ReportData,
    StageTime,
    findings,
    picture_uri,
    render_report,
    write_report,
)
from millrace.reporting.intervals import Rate
from tests.reporting.reports import empty_report, example, full_report

VOID = {"meta", "link", "br", "img", "input", "hr", "circle", "path"}


class Page(HTMLParser):
    """The page as a list of elements, with a check that every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\u00a0", " ").split())


@pytest.fixture(scope="module")
def full() -> Page:
    return Page(render_report(full_report()))


def test_the_page_stands_alone_and_runs_nothing(full: Page) -> None:
    tags = {tag for tag, _ in full.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in full.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,")), (tag, attributes)
        assert "url(" not in attributes.get("style", "")
    (policy,) = (a["content"] for _, a in full.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_every_link_leads_to_a_section_and_every_picture_has_words(full: Page) -> None:
    ids = [attributes["id"] for _, attributes in full.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in full.elements:
        if tag == "a":
            assert attributes["href"][1:] in ids
        if tag == "label":
            assert attributes["for"] in ids
        if tag == "img":
            assert attributes["alt"]
    assert ("html", {"lang": "en"}) in full.elements
    assert sum(tag == "h1" for tag, _ in full.elements) == 1


def test_the_page_says_what_was_measured(full: Page) -> None:
    text = full.text
    for words in (
        "29.5 % of 10,467 decided claims fail",
        "95 % interval 28.7 to 30.4 %",
        "Which way it faces",
        "59 to 66 %",
        "402 of 640",
        "rotated",
        "hallucinated",
        "12,800 in",
        "no subject 2,328",
        "✓ adds up",
        "2 min 28 s",
        "15 s (10 %)",
        "git checkout 1f0a2c9",
        "verified by label map",
        "asked again, the model fails",
        "4 of 5 checks passed",
        "0.27 against 0.25 by chance",
        "another matter",
        "2.13.0",
    ):
        assert words in text, words
    assert "does not add up" not in text


def test_claims_come_worst_first_and_unmeasured_ones_last() -> None:
    data = full_report()
    unmeasured = msgspec.structs.replace(data.claims[0], claim_id="x", name="Never asked", rate=Rate(0, 0))
    page = Page(render_report(msgspec.structs.replace(data, claims=(unmeasured, *reversed(data.claims)))))
    names = [claim.name for claim in data.claims] + ["Never asked"]
    places = [
        page.text.index(f"{name} The") if name != "One among its like" else page.text.index(f"{name} Among")
        for name in names[:-1]
    ]
    assert places == sorted(places)
    assert page.text.index("Never asked") > places[-1]


def test_what_was_not_measured_is_said_so_and_is_no_zero() -> None:
    page = Page(render_report(empty_report()))
    assert "Failure rate not measured" in page.text
    assert "not measured images probed" in page.text
    assert "not measured from start to end" in page.text
    assert not re.search(r"(?<!\d)0(\.0)? %(?! 25)(?! 2 %)", page.text)
    unasked = Page(render_report(msgspec.structs.replace(full_report(), gallery=(example(4),))))
    assert "asked again: not measured" in unasked.text
    times = (StageTime("probing", 4.0, None), StageTime("questions", 6.0, 5.0))
    half = Page(render_report(msgspec.structs.replace(full_report(), times=times)))
    assert "probing 4.0 s 40 % not measured" in half.text


def test_a_funnel_that_loses_something_says_so() -> None:
    stage = FunnelStage("Questions", "questions", 100, 90, {"duplicate": 7})
    assert stage.missing == 3
    page = Page(render_report(msgspec.structs.replace(full_report(), funnel=(stage,))))
    assert "does not add up: 3 unaccounted for" in page.text


HOSTILE = (
    "</style></title><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}\"' onload=x javascript:alert(1) [SLOT] [<b>]"
)


def _poisoned(value: object, key: str = "") -> object:
    """The same report with every text in it replaced by something hostile."""
    if isinstance(value, str):
        return value if key in {"verification", "outcome", "answer", "baseline_answer"} else HOSTILE
    if isinstance(value, tuple):
        return tuple(_poisoned(item) for item in value)
    if isinstance(value, dict):
        return {name if name in OUTCOMES else f"{name}{HOSTILE}": _poisoned(item) for name, item in value.items()}
    if isinstance(value, msgspec.Struct):
        return type(value)(**{field: _poisoned(getattr(value, field), field) for field in value.__struct_fields__})
    return value


def test_text_from_outside_never_becomes_markup(full: Page) -> None:
    data = _poisoned(full_report())
    assert isinstance(data, ReportData)
    hostile = Page(render_report(data))
    expected = [
        (tag, sorted(attributes)) for tag, attributes in full.elements if tag not in {"span", "article", "input", "label"}
    ]
    found = [
        (tag, sorted(attributes)) for tag, attributes in hostile.elements if tag not in {"span", "article", "input", "label"}
    ]
    assert {tag for tag, _ in hostile.elements} <= {tag for tag, _ in full.elements} | {"b"}
    assert not [a for _, a in hostile.elements if any(name.startswith("on") for name in a)]
    assert [tag for tag, _ in found].count("img") == [tag for tag, _ in expected].count("img")
    assert "<script>alert(1)</script>" in hostile.text
    assert "{{7*7}}" in hostile.text


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_any_sentence_is_shown_as_it_is(sentence: str) -> None:
    assert str(charts.with_slots(sentence)).count("<") == 2 * len(re.findall(r"\[[A-Z][A-Z0-9_]*\]", sentence))


def test_open_slots_are_shown_as_blanks() -> None:
    assert str(charts.with_slots("There are [COUNT] <b>")) == 'There are <span class="slot">count</span> &lt;b&gt;'


def _decoded(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_pictures_are_made_anew_small_and_without_their_metadata() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    exif[0x0112] = 6
    file = BytesIO()
    Image.new("RGB", (2000, 1000), (10, 200, 30)).save(file, "JPEG", exif=exif)
    uri = picture_uri(file.getvalue())
    assert uri is not None
    picture = _decoded(uri)
    assert (picture.format, picture.size) == ("JPEG", (180, 360))
    assert not picture.getexif()


@pytest.mark.parametrize("data", [None, b"", b"<svg onload=alert(1)>", b"GIF89a"])
def test_a_picture_that_cannot_be_shown_leaves_a_word_in_its_place(data: bytes | None) -> None:
    assert picture_uri(data) is None
    broken = msgspec.structs.replace(example(0), image=data)
    page = Page(render_report(msgspec.structs.replace(full_report(), gallery=(broken,))))
    assert "the image cannot be shown" in page.text


def test_a_failed_check_and_a_failure_without_a_question_are_shown() -> None:
    first = msgspec.structs.replace(example(0), checks=(CheckResult("no_leak", False, "the answer is in the question"),))
    second = msgspec.structs.replace(example(1), question=None)
    page = Page(render_report(msgspec.structs.replace(full_report(), gallery=(first, second))))
    assert "0 of 1 checks passed" in page.text
    assert "no leak : the answer is in the question" in page.text.replace("leak:", "leak :")
    assert "No question was made from this failure." in page.text


def test_findings_claim_only_what_the_intervals_bear_out() -> None:
    data = full_report()
    assert [sentence.replace("\u00a0", " ") for sentence in findings(data)] == [
        "Weakest at “Which way it faces” (63 % fail), strongest at “Where it is” (10 %).",
        "What hurts most is “rotated”: 52 % of the claims fail with it, 24 % without.",
        "912 questions were made from these failures, 912 of them verified; the model fails 67 % of them.",
    ]
    few = tuple(msgspec.structs.replace(claim, rate=Rate(2 if index else 3, 5)) for index, claim in enumerate(data.claims))
    same = tuple(msgspec.structs.replace(factor, present=Rate(5, 20), absent=Rate(4, 20)) for factor in data.factors)
    assert findings(msgspec.structs.replace(data, claims=few, factors=same, dataset=None)) == []


def test_faults_of_ours_count_on_neither_side_of_the_rate() -> None:
    data = msgspec.structs.replace(full_report(), outcomes={"correct": 1, "wrong": 1, "infra_error": 98, "judge_uncertain": 100})
    assert data.overall == Rate(1, 2)


@given(st.lists(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), min_size=1, max_size=8))
def test_dots_and_whiskers_stay_on_their_axis_and_in_order(counts: list[tuple[int, int]]) -> None:
    rates = [Rate(*count) for count in counts]
    axis = charts.axis_for(rates)
    assert axis.ticks[0] == 0
    assert axis.ticks[-1] == axis.end <= 1
    for rate in rates:
        drawn = charts.whisker(rate, axis)
        assert drawn is not None
        assert 0 <= drawn.left <= drawn.dot + 0.01
        assert drawn.dot - 0.01 <= drawn.left + drawn.width <= 100.01


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "not measured"), (0.0, "0 %"), (0.274, "27 %"), (0.001, "0.1 %"), (0.9996, "99.96 %"), (1.0, "100 %")],
)
def test_a_share_is_never_rounded_to_nothing_or_to_all(share: float | None, text: str) -> None:
    assert charts.percent(share).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "not measured"), (0.04, "0.0 s"), (9.94, "9.9 s"), (59.6, "1 min 0 s"), (3661, "1 h 1 min")]
)
def test_durations_read_as_people_say_them(seconds: float | None, text: str) -> None:
    assert charts.duration(seconds).replace("\u00a0", " ") == text


def test_the_report_is_written_at_once(tmp_path: Path) -> None:
    path = write_report(empty_report(), tmp_path / "report.html")
    assert path.read_text().startswith("<!doctype html>")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_cost_that_is_not_known_of_every_call_is_unknown_and_no_sum(full: Page) -> None:
    assert "6,032 answers, at a cost that is not measured for some of them" in full.text
    assert "a-writer <of unknown price>" in full.text
    one = msgspec.structs.replace(full_report(), paid=full_report().paid[:1])
    assert "5,120 answers, $0.4915" in Page(render_report(one)).text


def test_judges_are_shown_with_their_agreement_and_only_where_there_were_several(full: Page) -> None:
    assert "1,703 claims had several votes: 87 % of them unanimous, 12 undecided" in full.text
    assert "a kappa of 0.71" in full.text
    assert "How far the judges agree" not in Page(render_report(empty_report())).text


def test_cut_off_withheld_and_missing_answers_are_in_the_report() -> None:
    data = full_report()
    row = msgspec.structs.replace(data.paid[0], cut_off=31, filtered=7, discarded=5)
    judges = JudgesResult(0, 0, 0, None, {}, {"third": "29 cut off"})
    page = Page(render_report(msgspec.structs.replace(data, paid=(row,), judges=judges))).text
    for said in ("31 broke off", "7 were withheld", "5 further replies", "third (29 cut off)", "No claim had several votes"):
        assert said in page
    assert "broke off" not in Page(render_report(data)).text.replace("a reply broke off", "")
