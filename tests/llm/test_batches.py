"""Batches: paid once wherever a process ends, nothing lost, no fault of the server taken for the model's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from millrace.errors import ItemFailed, RunFailed, UsageError
from millrace.llm import Reply, Request, Usage
from millrace.llm.batches.folder import BatchFolder, batches_below
from millrace.llm.client.durable_chat import DurableChat
from millrace.llm.failures import BudgetSpent, CallFailed, EndpointDown
from millrace.llm.mock_server.faults import FaultPlan
from millrace.llm.mock_server.http_server import Outgoing
from millrace.llm.settings import ModelSettings
from millrace.llm.store.ledger import read_ledger
from millrace.qa import preflight as qa_preflight
from millrace.qa.settings import QaSettings
from millrace.records.batches import BatchRecord
from millrace.synthesis.runs.stage import Synthesis
from millrace.synthesis.settings import SynthesisConfig
from tests.llm.gemini_server import KEY, GeminiServer
from tests.llm.servers import opened, question, run, serving

QUICK = {"gather_s": 0.02, "poll_s": 0.01}


def said(request: Request) -> Reply:
    text = request.messages[-1].text
    return Reply(text=f"answer to {text}", usage=Usage(input_tokens=100, output_tokens=10))


@contextlib.asynccontextmanager
async def asking(url: str, folder: Path, **changed: Any) -> AsyncIterator[DurableChat]:
    """A client in batch mode, in a run's folder, that does not wait in earnest."""
    batch = {**QUICK, **changed.pop("batch", {})}
    async with opened(url, folder / "chat", mode="batch", batch=batch, **changed) as chat:
        assert chat.batches is not None

        async def soon(seconds: float) -> None:
            await asyncio.sleep(min(seconds, 0.01))

        chat.batches._sleep = chat.batches._submission._sleep = soon
        yield chat


async def all_of(chat: DurableChat, count: int) -> list[Reply | BaseException]:
    return await asyncio.gather(*(chat.complete(question(n, max_tokens=64)) for n in range(count)), return_exceptions=True)


def texts(answers: list[Reply | BaseException]) -> list[str]:
    return [answer.text if isinstance(answer, Reply) else repr(answer) for answer in answers]


EXPECTED = [f"answer to question {n}" for n in range(7)]


def once(server: Any) -> bool:
    """Whether each of seven questions was answered, and paid for, exactly once."""
    given = server.statistics()
    return (given["answered"], given["distinct"]) == (7, 7)


def test_questions_asked_together_are_one_batch_at_half_the_price(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said) as (server, url):
            price = {"input_usd": 10.0, "output_usd": 100.0}
            async with asking(url, tmp_path, price=price) as chat:
                answers = await all_of(chat, 7)
                assert texts(answers) == EXPECTED
                first = answers[0]
                assert isinstance(first, Reply)
                assert first.cost_usd == pytest.approx((100 * 10 + 10 * 100) / 1e6 / 2)
            assert server.batches.made == 1
            assert once(server)
            (row,) = read_ledger([tmp_path / "chat" / "ledger"])
            assert (row.calls, row.cost_usd) == (7, pytest.approx(7 * 0.001))
            async with asking(url, tmp_path) as chat:
                answers = await all_of(chat, 7)
                assert texts(answers) == EXPECTED
                assert all(isinstance(answer, Reply) and answer.replayed for answer in answers)
            assert server.batches.made == 1

    run(main())


class Killed(BaseException):
    """Stands for the end of a process."""


class Death:
    """The process ends at the `step`-th of all writes and exchanges, and does nothing after it: before or after it is done."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.seen = 0
        self.came = asyncio.Event()

    def look(self) -> None:
        self.seen += 1
        if self.seen > self.step:
            self.came.set()
            raise Killed

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def exchange(*args: Any, **kwargs: Any) -> Any:
            self.look()
            value = await function(*args, **kwargs)
            self.look()
            return value

        def write(*args: Any, **kwargs: Any) -> Any:
            self.look()
            value = function(*args, **kwargs)
            self.look()
            return value

        return exchange if asyncio.iscoroutinefunction(function) else write

    def over(self, chat: DurableChat) -> None:
        """See every step of a client."""
        assert chat.batches is not None
        places: tuple[tuple[Any, tuple[str, ...]], ...] = (
            (chat.batches.folder, ("write", "write_questions", "write_answers", "drop_questions")),
            (chat.batches._api._http, ("post", "get", "raw")),  # type: ignore[attr-defined]
            (chat.journal, ("add",)),
        )
        for owner, names in places:
            for name in names:
                setattr(owner, name, self.around(getattr(owner, name)))


PROVIDERS: dict[str, dict[str, Any]] = {
    "openai_compatible": {},
    "anthropic": {"provider": "anthropic"},
    "gemini": {"provider": "gemini", "model": "gemini-test", "key_env": "GEMINI_TEST_KEY"},
}


@contextlib.asynccontextmanager
async def served_by(provider: str, **plan: Any) -> AsyncIterator[tuple[Any, str]]:
    """A server that speaks the batches of a provider, and its base URL."""
    if provider != "gemini":
        async with serving(said, **plan) as pair:
            yield pair
        return
    server = GeminiServer(said)
    server.batches.plan = FaultPlan(**plan)
    server.batches.refill()
    try:
        yield server, await server.http.start() + "/v1beta"
    finally:
        await server.http.stop()


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_TEST_KEY", KEY)


async def killed(provider: str, folder: Path, step: int) -> bool:
    """Whether there is such a step; asserts that the run that follows has all answers and that each was paid for once."""
    death = Death(step)
    async with served_by(provider) as (server, url):
        async with asking(url, folder, **PROVIDERS[provider]) as chat:
            death.over(chat)
            work = asyncio.create_task(all_of(chat, 7))
            came = asyncio.create_task(death.came.wait())
            await asyncio.wait([work, came], return_when=asyncio.FIRST_COMPLETED)
            for task in (work, came):
                task.cancel()
            await asyncio.gather(work, came, return_exceptions=True)
        async with asking(url, folder, **PROVIDERS[provider]) as chat:
            assert texts(await all_of(chat, 7)) == EXPECTED
        assert once(server), (step, server.statistics())
        assert server.batches.made == 1, step
    return death.came.is_set()


@pytest.mark.parametrize(("provider", "steps"), [("openai_compatible", 30), ("anthropic", 26), ("gemini", 26)])
def test_a_process_that_ends_at_any_step_of_a_batch_pays_for_nothing_twice(tmp_path: Path, provider: str, steps: int) -> None:
    step = 0
    while run(killed(provider, tmp_path / str(step), step)):
        step += 1
    assert step >= steps, "questions, records, upload, batch, looks, answers and journal, each before and after"


@pytest.mark.parametrize(
    ("fault", "batches"), [("submit_429", 1), ("submit_lost", 1), ("expired", 2), ("half_failed", 2), ("answers_lost", 2)]
)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_fault_of_the_server_costs_another_batch_at_most_and_no_answer(
    tmp_path: Path, provider: str, fault: str, batches: int
) -> None:
    async def main() -> None:
        async with served_by(provider, batch_faults={fault: 1}) as (server, url):
            async with asking(url, tmp_path, **PROVIDERS[provider]) as chat:
                assert texts(await all_of(chat, 7)) == EXPECTED
            assert server.batches.made == batches
            lost = {"answers_lost", "expired"} if provider == "gemini" else {"answers_lost"}
            if fault not in lost:  # what is paid for and gone has to be paid for again
                assert once(server)

    run(main())


def test_batches_without_names_that_are_mixed_up_are_told_apart_by_their_answers(tmp_path: Path) -> None:
    """Two models, as many questions for each, and neither submission was answered: each may take the other's batch for its."""

    async def main() -> None:
        async with serving(said, batch_faults={"submit_lost": 2}) as (server, url):
            server.names = ("one", "two")
            named = [{"provider": "anthropic", "model": name} for name in server.names]
            async with asking(url, tmp_path, **named[0]) as one, asking(url, tmp_path, **named[1]) as two:
                first, second = await asyncio.gather(all_of(one, 7), all_of(two, 7))
            assert texts(first) == texts(second) == EXPECTED
            given = server.statistics()
            assert (given["answered"], given["distinct"], server.batches.made) == (14, 14, 2)
            ids = {record.model: record.batch_id for record in batches_below(tmp_path / "chat")}
            assert len(set(ids.values())) == 2

    run(main())


def test_a_batch_that_another_record_only_found_may_still_be_this_ones_until_its_answers_are_there(tmp_path: Path) -> None:
    named = {"number": 0, "base_url": "", "model": "m", "stage": "", "form": "", "requests": ()}
    mine = BatchRecord(name="mine", **named)
    told = BatchRecord(name="told", batch_id="b0", status="submitted", **named)
    found = BatchRecord(name="found", batch_id="b1", status="submitted", looked_up=True, **named)
    confirmed = BatchRecord(name="confirmed", batch_id="b2", status="collected", looked_up=True, **named)
    for model, records in (("m", (told, confirmed)), ("n", (found,))):
        folder = BatchFolder(tmp_path / model)
        folder.path.mkdir()
        for record in records:
            folder.write(record)
    assert BatchFolder(tmp_path / "m").others(mine) == {"b0", "b2"}


def test_a_batch_that_a_provider_refuses_ends_the_run_with_its_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with served_by("gemini", batch_faults={"refused": 1}) as (_, url):
            async with asking(url, tmp_path, **PROVIDERS["gemini"]) as chat:
                answers = await all_of(chat, 7)
            assert all(isinstance(answer, EndpointDown) and "the batch is not valid" in str(answer) for answer in answers)

    run(main())


def test_what_expired_is_asked_live_where_the_config_says_so_and_at_the_full_price(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving(said, batch_faults={"expired": 1}) as (server, url):
            price = {"input_usd": 10.0, "output_usd": 100.0}
            async with asking(url, tmp_path, price=price, batch={"unanswered": "live"}) as chat:
                answers = await all_of(chat, 7)
            assert texts(answers) == EXPECTED
            assert server.batches.made == 1
            assert once(server)
            costs = sorted(round(answer.cost_usd or 0, 6) for answer in answers if isinstance(answer, Reply))
            assert costs == [0.001] * 4 + [0.002] * 3
            assert "asked again live, at the full price" in caplog.text

    run(main())


def test_a_server_that_fails_in_every_batch_is_a_failed_call_and_never_the_models(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said, batch_faults={"half_failed": 50}) as (server, url):
            async with asking(url, tmp_path, attempts=2) as chat:
                answers = await all_of(chat, 7)
            failed = [answer for answer in answers if not isinstance(answer, Reply)]
            assert failed
            assert all(isinstance(failure, CallFailed) and failure.reason == "server" for failure in failed)
            made = server.batches.made
            async with asking(url, tmp_path, attempts=2) as chat:  # another process of the same start is told the same at once
                assert [type(answer) for answer in await all_of(chat, 7)] == [type(answer) for answer in answers]
                assert server.batches.made == made
                assert chat.batches is not None
                chat.batches.folder.forgive()  # a new start asks again
                await all_of(chat, 7)
                assert server.batches.made > made

    run(main())


def test_a_batch_that_is_refused_ends_the_run_and_one_that_is_too_much_is_made_smaller(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said, batch_faults={"refused": 1}) as (server, url):
            async with asking(url, tmp_path / "a") as chat:
                answers = await all_of(chat, 7)
                assert all(isinstance(answer, EndpointDown) and "not valid" in str(answer) for answer in answers)
            async with asking(url, tmp_path / "a") as chat:
                assert texts(await all_of(chat, 7)) == EXPECTED
            assert once(server)
        async with serving(said, batch_faults={"too_much": 1}) as (server, url):
            async with asking(url, tmp_path / "b", batch={"most_requests": 7}) as chat:
                assert texts(await all_of(chat, 7)) == EXPECTED
            assert once(server)
            sizes = [len(record.requests) for record in batches_below(tmp_path / "b" / "chat")]
            assert sorted(sizes) == [1, 3, 3, 7]

    run(main())


@pytest.mark.parametrize(("limit", "batches"), [({"most_requests": 3}, 3), ({"most_bytes": 500}, 4)])
def test_a_batch_never_holds_more_than_its_limits(tmp_path: Path, limit: dict[str, int], batches: int) -> None:
    async def main() -> None:
        async with serving(said) as (server, url):
            async with asking(url, tmp_path, batch=limit) as chat:
                assert texts(await all_of(chat, 7)) == EXPECTED
            assert server.batches.made == batches
            for data in server.files.questions():
                assert len(data.splitlines()) <= limit.get("most_requests", 7)
                assert len(data) <= limit.get("most_bytes", 10_000)

    run(main())


def test_two_processes_that_ask_the_same_share_one_batch(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said, batch_s=0.2) as (server, url), asking(url, tmp_path) as one, asking(url, tmp_path) as other:
            first, second = await asyncio.gather(all_of(one, 7), all_of(other, 7))
            assert texts(first) == texts(second) == EXPECTED
            assert once(server)

    run(main())


def test_what_is_under_way_is_left_running_by_a_stop_and_taken_up_by_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said, batch_s=3600.0) as (server, url):
            now = 0.0
            server.batches.clock = lambda: now
            async with asking(url, tmp_path) as chat:
                work = asyncio.create_task(all_of(chat, 7))
                while not server.batches.made:
                    await asyncio.sleep(0.01)
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)
            assert not server.batches.kept["batch_0"].ended
            now = 3601.0
            async with asking(url, tmp_path) as chat:
                assert texts(await all_of(chat, 7)) == EXPECTED
            assert server.batches.made == 1
            (record,) = batches_below(tmp_path / "chat")
            assert (record.status, record.end, record.done) == ("collected", "completed", 7)

    run(main())


def test_a_lost_run_folder_finds_the_batch_that_it_handed_in(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said) as (server, url):
            for name in ("a", "b"):
                async with asking(url, tmp_path / name) as chat:
                    assert texts(await all_of(chat, 7)) == EXPECTED
            assert server.batches.made == 1
            assert once(server)

    run(main())


def test_a_limit_of_money_keeps_a_batch_from_being_handed_in(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said) as (server, url):
            price = {"input_usd": 10.0, "output_usd": 100.0}
            async with asking(url, tmp_path, price=price, max_cost_usd=0.002) as chat:
                answers = await all_of(chat, 7)
                assert all(isinstance(answer, BudgetSpent) for answer in answers)
            assert server.batches.made == 0

    run(main())


def test_an_answer_that_breaks_the_schema_is_asked_again_in_the_next_batch(tmp_path: Path) -> None:
    schema: Any = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}

    def model(request: Request) -> Reply:
        return Reply(text='{"a": "yes"}' if len(request.messages) > 1 else "no json")

    async def main() -> None:
        async with serving(model) as (server, url), asking(url, tmp_path) as chat:
            reply = await chat.complete(question(0, schema=schema))
            assert reply.value == {"a": "yes"}
            assert server.batches.made == 2

    run(main())


def test_a_paid_answer_that_cannot_be_used_is_asked_again_and_in_the_ledger(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said) as (server, url):
            answer, broken = server.batches.answer, [True]

            async def first_broken(path: str, body: bytes) -> Outgoing:
                if broken:
                    broken.clear()
                    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
                    return Outgoing(200, orjson.dumps({"choices": [], "usage": usage}))
                return await answer(path, body)

            server.batches.answer = first_broken
            async with asking(url, tmp_path, price={"input_usd": 8.0, "output_usd": 0.0}) as chat:
                assert texts(await all_of(chat, 7)) == EXPECTED
            assert server.batches.made == 2
            rows = read_ledger([tmp_path / "chat" / "ledger"])
            assert sum(row.discarded for row in rows) == 1
            assert sum(row.cost_usd for row in rows) == pytest.approx(4.0 + 7 * 100 * 4 / 1e6)

    run(main())


def test_a_field_that_the_server_refuses_is_learnt_from_a_batch(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said) as (server, url):
            answer = server._of_a_batch

            async def strict(path: str, body: bytes) -> Any:
                if b'"max_tokens"' in body:
                    told = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
                    return Outgoing(400, orjson.dumps({"error": {"message": told}}))
                return await answer(path, body)

            server.batches.answer = strict
            async with asking(url, tmp_path) as chat:
                assert texts(await all_of(chat, 7)) == EXPECTED
            assert server.batches.made == 2

    run(main())


def test_a_server_without_batches_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(said) as (server, url):
            server.of_batches.clear()
            async with asking(url, tmp_path) as chat:
                (answer,) = await all_of(chat, 1)
                assert isinstance(answer, RunFailed)
                assert "offers no batches" in str(answer)
                assert not isinstance(answer, ItemFailed)

    run(main())


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"provider": "openai_responses"}, "has no batches"),
        ({"cache": "off"}, "cannot go with cache: off"),
        ({"endpoints": [{"base_url": "http://a/v1"}, {"base_url": "http://b/v1"}]}, "exactly one"),
    ],
)
def test_what_cannot_be_done_in_batches_is_refused_by_the_config(changed: dict[str, Any], words: str) -> None:
    whole = {"model": "m", "endpoints": [{"base_url": "http://a/v1"}], "mode": "batch", **changed}
    with pytest.raises(ValueError, match=words):
        ModelSettings.model_validate(whole)


def test_a_stage_that_asks_step_by_step_refuses_batches() -> None:
    chat = {"model": "m", "endpoints": [{"base_url": "http://a/v1"}], "mode": "batch"}
    writer = QaSettings.model_validate({"writer": {"name": "endpoint", "chat": chat}})
    with pytest.raises(UsageError, match=r"the writer of questions asks step by step .* set mode: live for m"):
        qa_preflight.check(writer)
    policy = {"policy": "chat", "chat": {"model": chat}}
    with pytest.raises(UsageError, match="synthesis asks step by step"):
        Synthesis(SynthesisConfig.model_validate(policy))._check_plugins()


def test_a_lock_is_free_after_its_process_and_not_before(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    with folder.locked("x") as alone:
        assert alone
        with BatchFolder(tmp_path).locked("x") as second:
            assert not second
    with folder.locked("x") as alone:
        assert alone
    assert [path.name for path in tmp_path.iterdir()] == ["x.lock"]
