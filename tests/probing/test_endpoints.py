"""Baseline and judge behind an endpoint: the same outcomes as in this process, whatever the line does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from millrace.errors import RunFailed
from millrace.lake.files import lake_files
from millrace.llm import Reply, Request
from millrace.llm.providers.scripted import ScriptedChat
from millrace.llm.run_chats import chats_of_run, close_run_chats, ledger_of_run
from millrace.probing.ask import ask_shard
from millrace.probing.baselines import baseline_settings, open_baseline
from millrace.probing.claims import load_claims
from millrace.probing.judges import judge_settings, open_judge
from millrace.probing.ranks.probe_unit import Probe, probe_unit
from millrace.probing.ranks.reopening import reopen_cut_off
from millrace.probing.ranks.units import units_of
from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import Probing
from millrace.run.journal import Journal, read_jsonl, write_json, write_jsonl
from tests.llm.servers import served
from tests.probing.coin_baseline import BaselineSettings, CoinBaseline


@pytest.fixture(autouse=True)
def _closed_afterwards() -> Iterator[None]:
    yield
    close_run_chats()


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lake")
    pytest.importorskip("millrace.digits.lake_build").build_lake(folder, images=24, pool="probe", seed=3)
    return folder


def baseline_chat(baseline: CoinBaseline) -> Any:
    """A chat model that answers as the baseline does."""
    return pytest.importorskip("millrace.digits.baseline.served").BaselineChat(baseline)


def chat(url: str, **changed: Any) -> dict[str, Any]:
    return {"model": "coin", "endpoints": [{"base_url": url}], "max_in_flight": 16, "timeout_s": 20, **changed}


def run_folder(path: Path) -> Path:
    path.mkdir()
    (path / "manifest.json").write_text("{}")
    return path


def probed(
    run: Path, lake: Path, baseline: dict[str, Any], judge: dict[str, Any], unit_file: Path | None = None
) -> list[dict[str, Any]]:
    """The outcome lines of the whole lake as one unit."""
    with chats_of_run(run):
        probe = Probe(
            claims=load_claims("default"),
            baseline=open_baseline(baseline_settings(baseline)),
            judge=open_judge(judge_settings(judge)),
            lake=lake,
            seed=7,
            unanswerable_share=0.15,
        )
    (unit,) = units_of(lake_files(lake), seed=7, images_per_unit=1000, files_per_draw=None)
    with Journal(unit_file or run / "unit.jsonl") as journal:
        probe_unit(probe, unit, journal, lambda failed: None)
        return journal.records()


def told(records: list[dict[str, Any]]) -> list[Any]:
    """What must not depend on where the model runs."""
    return [
        (
            record["kind"],
            record["image"]["row"],
            record["claim_id"],
            record.get("outcome"),
            (record.get("baseline") or {}).get("values"),
            (record.get("judge") or {}).get("kind"),
        )
        for record in records
    ]


ANNOTATION = {"name": "annotation"}
COIN = {"name": "tests.probing.coin_baseline"}
LINES = Path(__file__).parents[1] / "records" / "lines"
FAULTS = {"500": 0.05, "429": 0.05, "reset": 0.02, "malformed": 0.02}


def test_behind_a_faulty_endpoint_the_outcomes_are_the_same_and_none_is_charged_to_the_model(tmp_path: Path, lake: Path) -> None:
    here = probed(run_folder(tmp_path / "here"), lake, COIN, ANNOTATION)
    with served(baseline_chat(CoinBaseline(BaselineSettings())), faults=FAULTS, retry_after_s=0.1) as (server, url):
        baseline = {"name": "endpoint", "chat": chat(url)}
        there = probed(run_folder(tmp_path / "there"), lake, baseline, {"name": "endpoint", "chats": [chat(url, model="judge")]})
        assert server.counts["requests"] > server.statistics()["answered"]
        assert server.statistics()["answered_twice"] == 0
        close_run_chats()
        paid = sum(row.calls for row in ledger_of_run(tmp_path / "there") if row.stage == "baseline")
        assert paid == sum(record["kind"] == "outcome" for record in there)
        asked = server.counts["requests"]
        (tmp_path / "there" / "unit.jsonl").unlink()
        assert probed(tmp_path / "there", lake, baseline, ANNOTATION) == there
        assert server.counts["requests"] == asked
    assert told(there) == told(here)
    assert "infra_error" not in {record.get("outcome") for record in there}


def test_when_nobody_answers_any_more_the_run_ends_and_no_item_is_blamed(tmp_path: Path, lake: Path) -> None:
    with served(baseline_chat(CoinBaseline(BaselineSettings()))) as (_, url):
        pass
    run = run_folder(tmp_path / "run")
    with pytest.raises(RunFailed, match="no answer from"):
        probed(run, lake, {"name": "endpoint", "chat": chat(url, give_up_after_s=0.3)}, ANNOTATION)
    with Journal(run / "unit.jsonl") as journal:
        assert journal.records() == []


def test_a_model_that_answers_in_prose_makes_format_errors(tmp_path: Path, lake: Path) -> None:
    with served(ScriptedChat(lambda request: "It is somewhere on the left, I'd say.")) as (_, url):
        records = probed(run_folder(tmp_path / "run"), lake, {"name": "endpoint", "chat": chat(url)}, ANNOTATION)
    outcomes = {record["outcome"] for record in records if record["kind"] == "outcome"}
    assert outcomes <= {"format_error", "judge_uncertain"}
    assert "format_error" in outcomes


def test_questions_are_answered_as_in_this_process(tmp_path: Path, lake: Path) -> None:
    reader_rows = pq.read_table(lake_files(lake)[0], columns=["image_id"]).to_pylist()
    questions = tmp_path / "questions.jsonl"
    lines = []
    for number in range(30):
        row = number % len(reader_rows)
        image = {"image_id": reader_rows[row]["image_id"], "file": lake_files(lake)[0].name, "row": row, "sha256": ""}
        options = {"A": "one", "B": "two", "C": "three", "D": "four"} if number % 3 else {}
        kind = "multiple_choice" if options else "fill_in_blank"
        asked = f"How many, {number}?" if options else f"There are ___ digits ({number})."
        own = {"id": f"q{number}", "question": asked, "options": options, "question_type": kind, "image": image}
        lines.append({**next(read_jsonl(LINES / "qa.jsonl")), **own})
    questions.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    ask_shard(questions, tmp_path / "here.jsonl", lake, COIN)
    run = run_folder(tmp_path / "run")
    with served(baseline_chat(CoinBaseline(BaselineSettings())), faults=FAULTS, retry_after_s=0.1) as (_, url):
        ask_shard(questions, run / "there.jsonl", lake, {"name": "endpoint", "chat": chat(url)})
    here, there = ((path).read_bytes().splitlines() for path in (tmp_path / "here.jsonl", run / "there.jsonl"))
    assert [orjson.loads(line) for line in there] == [orjson.loads(line) for line in here]
    assert all(orjson.loads(line)["answers"] for line in there)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A lake of images without any annotation."""
    rows = []
    for number in range(6):
        out = io.BytesIO()
        Image.new("RGB", (64, 48), (40 * number, 90, 160)).save(out, "PNG")
        rows.append({"image_id": f"photo{number}", "jpg": out.getvalue()})
    (tmp_path / "photos").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "photos" / "a.parquet")
    return tmp_path / "photos"


def voter(applies: bool, correct: bool) -> Callable[[Request], Reply | str]:
    """A chat model that can do all three jobs: choose subjects, complete claims, vote."""

    def script(request: Request) -> Reply | str:
        assert request.schema is not None
        title = request.schema["title"]
        if title == "subject":
            wanted = request.schema["properties"]["values"]["properties"]
            return orjson.dumps({"offers": True, "values": dict.fromkeys(wanted, "blue thing")}).decode()
        if title == "vote":
            slots = request.schema["properties"]["right_values"]["properties"]
            vote = {"applies": applies, "is_correct": correct, "right_values": dict.fromkeys(slots, "2"), "explanation": "seen"}
            return orjson.dumps(vote).decode()
        slots = request.schema["properties"]["values"]["properties"]
        values = {slot: (rule.get("enum") or ["some words"])[0] for slot, rule in slots.items()}
        return orjson.dumps({"is_related": True, "values": values, "explanation": "so it seems"}).decode()

    return script


@pytest.mark.parametrize(
    ("panel", "outcome", "kind"),
    [
        ([(True, True)], "correct", "judged"),
        ([(True, False), (True, False), (True, True)], "wrong", "judged"),
        ([(False, False), (False, True), (True, True)], "hallucinated", "judged"),
        ([(True, True), (True, False)], "judge_uncertain", "unverified"),
    ],
)
def test_photos_without_annotation_are_judged_by_the_majority(
    tmp_path: Path, photos: Path, panel: list[tuple[bool, bool]], outcome: str, kind: str
) -> None:
    with served(ScriptedChat(voter(*panel[0]))) as (_, first):
        servers = [served(ScriptedChat(voter(*vote))) for vote in panel[1:]]
        urls = [first, *(one.__enter__()[1] for one in servers)]
        try:
            judge = {"name": "endpoint", "chats": [chat(url, model=f"judge{number}") for number, url in enumerate(urls)]}
            records = probed(run_folder(tmp_path / "run"), photos, {"name": "endpoint", "chat": chat(first)}, judge)
        finally:
            for one in servers:
                one.__exit__(None, None, None)
    found = [record for record in records if record["kind"] == "outcome"]
    assert len(found) == 6 * len(load_claims("default").claims)
    assert {(record["outcome"], record["judge"]["kind"]) for record in found} == {(outcome, kind)}
    assert all("judge0" in record["judge"]["by"] for record in found)


class Together(ScriptedChat):
    """Votes only when all claims of the picture are before it."""

    def __init__(self, votes: int) -> None:
        super().__init__(voter(True, True))
        self._missing = votes
        self._all_there = asyncio.Event()

    async def complete(self, request: Request) -> Reply:
        if request.schema is not None and request.schema["title"] == "vote":
            self._missing -= 1
            if self._missing == 0:
                self._all_there.set()
            await asyncio.wait_for(self._all_there.wait(), 60)
        return await super().complete(request)


def test_the_claims_of_one_image_are_before_the_judge_at_the_same_time(tmp_path: Path, photos: Path) -> None:
    table = pq.read_table(photos / "a.parquet")
    pq.write_table(table.slice(0, 1), photos / "a.parquet")
    claims = len(load_claims("default").claims)
    with served(Together(claims)) as (_, url):
        endpoint = chat(url, timeout_s=90)
        records = probed(
            run_folder(tmp_path / "run"),
            photos,
            {"name": "endpoint", "chat": endpoint},
            {"name": "endpoint", "chats": [endpoint | {"model": "judge"}]},
        )
    assert [record["outcome"] for record in records] == ["correct"] * claims


def cut(request: Request) -> Reply:
    return Reply(text="<think>let me see", finish="length")


def withheld(request: Request) -> Reply:
    return Reply(text="", finish="refusal", filtered=True)


def right(request: Request) -> Reply | str:
    return voter(True, True)(request)


@pytest.mark.parametrize(("script", "outcome"), [(cut, "cut_off"), (withheld, "filtered")])
@pytest.mark.parametrize("who", ["baseline", "judge"])
def test_what_broke_off_or_was_withheld_is_a_class_of_its_own_and_no_failure(
    tmp_path: Path, photos: Path, script: Callable[[Request], Reply], outcome: str, who: str
) -> None:
    def mixed(request: Request) -> Reply | str:
        assert request.schema is not None
        title = request.schema["title"].split()[0]
        return script(request) if title == {"baseline": "claim", "judge": "vote"}[who] else right(request)

    with served(ScriptedChat(mixed)) as (_, url):
        judge = {"name": "endpoint", "chats": [chat(url, model="judge")]}
        records = probed(run_folder(tmp_path / "run"), photos, {"name": "endpoint", "chat": chat(url)}, judge)
    found = [record for record in records if record["kind"] == "outcome"]
    assert {(record["outcome"], record["failure_id"]) for record in found} == {(outcome, None)}
    assert {record["error"]["type"] for record in found} == {{"cut_off": "CutOff", "filtered": "Filtered"}[outcome]}
    close_run_chats()
    asked = [row for row in ledger_of_run(tmp_path / "run") if row.stage == who]
    assert sum(getattr(row, outcome) for row in asked) == len(found) * (3 if outcome == "cut_off" else 1)


def test_a_model_that_thinks_past_its_limit_has_the_outcomes_of_one_that_does_not(tmp_path: Path, lake: Path) -> None:
    quick = baseline_chat(CoinBaseline(BaselineSettings()))

    class Thinking(ScriptedChat):
        async def complete(self, request: Request) -> Reply:
            if (request.max_tokens or 0) < 2000:
                return Reply(text='<think>a draft: {"is_related": true', finish="length")
            return await quick.complete(request)

    here = probed(run_folder(tmp_path / "here"), lake, COIN, ANNOTATION)
    with served(Thinking(lambda request: "")) as (_, url):
        there = probed(run_folder(tmp_path / "there"), lake, {"name": "endpoint", "chat": chat(url)}, ANNOTATION)
    assert told(there) == told(here)


def test_a_server_that_takes_a_schema_and_ignores_it_makes_no_format_errors(tmp_path: Path, lake: Path) -> None:
    quick = baseline_chat(CoinBaseline(BaselineSettings()))
    asked: list[bool] = []

    class Ignoring(ScriptedChat):
        async def complete(self, request: Request) -> Reply:
            in_words = '"additionalProperties"' in request.messages[-1].text
            asked.append(in_words)
            if not in_words:
                return Reply(text="It is a seven, somewhere on the left, I'd say.")
            schema = orjson.loads(request.messages[-1].text.splitlines()[-1])
            first = msgspec.structs.replace(request, messages=request.messages[:2], schema=schema)
            return await quick.complete(first)

    here = probed(run_folder(tmp_path / "here"), lake, COIN, ANNOTATION)
    with served(Ignoring(lambda request: "")) as (_, url):
        there = probed(run_folder(tmp_path / "there"), lake, {"name": "endpoint", "chat": chat(url)}, ANNOTATION)
    assert [outcome for _, _, _, outcome, _, _ in told(there)] == [outcome for _, _, _, outcome, _, _ in told(here)]
    assert asked.count(False) < len(asked) / 2, "it is remembered, not found out for each question"


def test_a_missing_vote_is_named_with_its_reason(tmp_path: Path, photos: Path) -> None:
    with served(ScriptedChat(right)) as (_, good), served(ScriptedChat(cut)) as (_, thinking):
        chats = [chat(good, model="one"), chat(good, model="two"), chat(thinking, model="three")]
        judge = {"name": "endpoint", "chats": chats}
        records = probed(run_folder(tmp_path / "run"), photos, {"name": "endpoint", "chat": chat(good)}, judge)
    found = [record for record in records if record["kind"] == "outcome"]
    assert {record["outcome"] for record in found} == {"correct"}
    for record in found:
        assert record["judge"]["missing"] == {"three": "cut_off"}
        assert "none from three (cut_off)" in record["judge"]["by"]


def test_a_raised_limit_asks_again_only_for_what_broke_off(tmp_path: Path, photos: Path) -> None:
    longest = [0]

    def thinking(request: Request) -> Reply | str:
        """Every third claim takes more room than the others."""
        assert request.schema is not None
        hard = request.schema["title"].startswith("claim ") and len(request.schema["title"]) % 3 == 0
        longest[0] = max(longest[0], request.max_tokens or 0)
        if hard and (request.max_tokens or 0) < 3000:
            return Reply(text="<think>", finish="length")
        return right(request)

    run, work = run_folder(tmp_path / "run"), tmp_path / "run" / "probing" / "work"
    work.mkdir(parents=True)

    def config(longest_answer: int) -> dict[str, Any]:
        endpoint = chat(url, longest_answer=longest_answer)
        judge = {"name": "endpoint", "chats": [chat(url, model="judge")]}
        return {"baseline": {"name": "endpoint", "chat": endpoint, "max_tokens": 256}, "judge": judge}

    def attempt(longest_answer: int) -> list[dict[str, Any]]:
        now = config(longest_answer)
        reopened = reopen_cut_off(work, now)
        (work / "worker.json").write_bytes(orjson.dumps({"config": now}))
        records = probed(run, photos, now["baseline"], now["judge"], work / "unit-000000.jsonl")
        close_run_chats()
        assert reopened == (longest_answer == 4000)
        return records

    with served(ScriptedChat(thinking)) as (server, url):
        first = attempt(1000)
        asked = server.counts["requests"]
        cut_off = sum(record.get("outcome") == "cut_off" for record in first)
        assert 0 < cut_off < len(first)
        assert attempt(1000) == first
        assert server.counts["requests"] == asked, "the same limits ask nothing again"
        second = attempt(4000)
        assert "cut_off" not in {record.get("outcome") for record in second}
        assert len(second) == len(first)
        # one more try with all the room for each claim that was cut, then its verdict; a finer step may lie between
        assert server.counts["requests"] - asked <= 3 * cut_off
    kept = {record["id"]: record for record in first if record.get("outcome") not in {"cut_off", None}}
    assert {record["id"]: record for record in second if record["id"] in kept} == kept


def test_a_finished_probing_is_outdated_only_where_something_broke_off_at_a_limit_that_is_higher_now(tmp_path: Path) -> None:
    work = tmp_path / "probing" / "work"

    def stage(longest_answer: int) -> Probing:
        answers = chat("http://127.0.0.1:9/v1", longest_answer=longest_answer)
        return Probing(ProbingConfig(baseline={"name": "endpoint", "chat": answers}))

    write_json(work / "worker.json", {"config": stage(1000).config.model_dump(mode="json")})
    write_json(tmp_path / "probing" / "summary.json", {})
    whole = next(read_jsonl(LINES / "outcome.jsonl"))
    write_jsonl(work / "unit-000000.jsonl", [{**whole, "outcome": "wrong"}])
    assert not stage(4000).outdated(tmp_path)
    write_jsonl(work / "unit-000001.jsonl", [{**whole, "outcome": "cut_off"}])
    assert stage(4000).outdated(tmp_path)
    assert not stage(1000).outdated(tmp_path)
    (tmp_path / "probing" / "summary.json").unlink()
    assert not stage(4000).outdated(tmp_path), "the ranks of a stage that is unfinished see to it"


def test_a_raised_limit_asks_again_what_a_claim_should_be_about_where_that_broke_off(tmp_path: Path, photos: Path) -> None:
    def thinking(request: Request) -> Reply | str:
        assert request.schema is not None
        short = request.schema["title"] == "subject" and (request.max_tokens or 0) < 3000
        return cut(request) if short else right(request)

    run, work = run_folder(tmp_path / "run"), tmp_path / "run" / "probing" / "work"
    work.mkdir(parents=True)

    def attempt(longest_answer: int) -> list[dict[str, Any]]:
        judge = {"name": "endpoint", "chats": [chat(url, model="judge", longest_answer=longest_answer)]}
        now = {"baseline": {"name": "endpoint", "chat": chat(url)}, "judge": judge}
        reopen_cut_off(work, now)
        (work / "worker.json").write_bytes(orjson.dumps({"config": now}))
        records = probed(run, photos, now["baseline"], now["judge"], work / "unit-000000.jsonl")
        close_run_chats()
        return records

    with served(ScriptedChat(thinking)) as (_, url):
        assert "cut_off" in {record.get("reason") for record in attempt(1000)}
        assert {record["kind"] for record in attempt(4000)} == {"outcome"}


def test_a_model_that_refuses_by_itself_has_failed_and_is_not_taken_for_a_filter(tmp_path: Path, photos: Path) -> None:
    def refusing(request: Request) -> Reply | str:
        assert request.schema is not None
        mine = request.schema["title"].startswith("claim ")
        return Reply(text="I'd rather not", finish="refusal") if mine else right(request)

    with served(ScriptedChat(refusing)) as (_, url):
        judge = {"name": "endpoint", "chats": [chat(url, model="judge")]}
        records = probed(run_folder(tmp_path / "run"), photos, {"name": "endpoint", "chat": chat(url)}, judge)
    assert {record["outcome"] for record in records if record["kind"] == "outcome"} == {"format_error"}


def test_with_filters_cut_answers_and_broken_ones_no_outcome_is_charged_to_the_model(tmp_path: Path, lake: Path) -> None:
    faults = {"filter": 0.1, "cut": 0.1, "error": 0.1, "429": 0.05}
    here = probed(run_folder(tmp_path / "here"), lake, COIN, ANNOTATION)
    with served(baseline_chat(CoinBaseline(BaselineSettings())), faults=faults, retry_after_s=0.1) as (server, url):
        there = probed(run_folder(tmp_path / "there"), lake, {"name": "endpoint", "chat": chat(url)}, ANNOTATION)
        given = server.statistics()["given"]
    same = [(one[3], two[3]) for one, two in zip(told(here), told(there), strict=True) if two[3] != "filtered"]
    assert all(one == two for one, two in same)
    assert len(there) - len(same) == given["filter"]
    assert min(given["cut"], given["error"]) > 3
