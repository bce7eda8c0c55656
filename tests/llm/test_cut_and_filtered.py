"""Answers that broke off and answers that a filter withheld: neither is ever the model's failure."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import orjson
import pytest

from millrace.llm import Reply, Request, user
from millrace.llm.client.batch import complete_many
from millrace.llm.failures import CallFailed, CutOff, EndpointDown, ReplyInvalid
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.store.ledger import read_ledger
from tests.llm.servers import opened, question, run, serving

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def thinker(needs: int, seen: list[int | None]) -> Any:
    """A model whose thoughts take `needs` tokens of the limit."""

    def script(request: Request) -> Reply | str:
        seen.append(request.max_tokens)
        if request.max_tokens is not None and request.max_tokens < needs:
            return Reply(text='<think>hm, perhaps {"b": 1}', finish="length")
        return '{"a": 1}'

    return script


@pytest.mark.parametrize(("needs", "asked"), [(100, [128]), (500, [128, 512]), (3000, [128, 512, 4000])])
def test_an_answer_that_broke_off_is_asked_for_again_with_more_room(needs: int, asked: list[int], tmp_path: Path) -> None:
    seen: list[int | None] = []

    async def main() -> Reply:
        async with serving(thinker(needs, seen)) as (_, url), opened(url, tmp_path, longest_answer=4000) as chat:
            return await chat.complete(question(schema=SCHEMA, max_tokens=128))

    reply = run(main())
    assert (reply.value, reply.attempts, seen) == ({"a": 1}, len(asked), asked)
    assert sum(row.cut_off for row in read_ledger([tmp_path / "ledger"])) == len(asked) - 1


@pytest.mark.parametrize("message", [{"content": '{"a": '}, {"content": None, "reasoning_content": "hm"}])
def test_an_answer_that_used_up_all_its_room_broke_off_whatever_the_server_calls_its_end(message: Any) -> None:
    async def handle(incoming: Incoming) -> Outgoing:
        limit = orjson.loads(incoming.body)["max_tokens"]
        told = {"message": message, "finish_reason": "stop"} if limit < 400 else {"message": {"content": '{"a": 1}'}}
        return Outgoing(200, orjson.dumps({"choices": [told], "usage": {"prompt_tokens": 9, "completion_tokens": limit}}))

    async def main() -> Reply:
        server = HttpServer(handle)
        async with opened(await server.start(), longest_answer=4000) as chat:
            reply = await chat.complete(question(schema=SCHEMA, max_tokens=128))
        await server.stop()
        return reply

    reply = run(main())
    assert (reply.value, reply.attempts) == ({"a": 1}, 2)


def test_a_server_that_was_left_to_choose_and_stops_early_is_told_how_long_an_answer_may_be() -> None:
    seen: list[int | None] = []

    def short(request: Request) -> Reply | str:
        seen.append(request.max_tokens)
        return '{"a": 1}' if request.max_tokens else Reply(text='{"a": ', finish="length")

    async def main() -> None:
        async with serving(short) as (_, url), opened(url, longest_answer=4000) as chat:
            assert (await chat.complete(question(schema=SCHEMA))).value == {"a": 1}

    run(main())
    assert seen == [None, 4000]


@pytest.mark.parametrize("schema", [SCHEMA, None])
@pytest.mark.parametrize("text", ["", '{"a": ', '<think>{"a": 1}', '{"b": {"a": 1}, "c": "lo'])
def test_what_breaks_off_each_time_is_a_class_of_its_own_and_not_the_models_fault(schema: Any, text: str) -> None:
    async def main() -> None:
        async with serving(lambda request: Reply(text=text, finish="length")) as (server, url), opened(url) as chat:
            if schema is None and text.startswith("{"):
                assert (await chat.complete(question(max_tokens=64))).text == text
                return
            with pytest.raises(CutOff) as caught:
                await chat.complete(question(schema=schema, max_tokens=64))
            assert not isinstance(caught.value, ReplyInvalid)
            assert caught.value.reason == "cut_off"
            assert server.counts["requests"] == 3

    run(main())


def test_a_server_that_has_no_more_room_does_not_turn_a_cut_answer_into_another_fault(tmp_path: Path) -> None:
    async def small(incoming: Incoming) -> Outgoing:
        if orjson.loads(incoming.body)["max_tokens"] > 512:
            return Outgoing(400, b'{"error":{"message":"maximum context length is 512 tokens"}}')
        return Outgoing(200, b'{"choices":[{"message":{"content":""},"finish_reason":"length"}]}')

    async def main() -> None:
        server = HttpServer(small)
        url = await server.start()
        for _ in range(2):  # and so after a resume, where nothing has been answered yet
            async with opened(url, tmp_path, max_in_flight=2) as chat:
                asked = ((number, question(number, schema=SCHEMA, max_tokens=512)) for number in range(30))
                told = [reply async for _, reply in complete_many(chat, asked)]
                assert [type(one) for one in told] == [CutOff] * 30
        await server.stop()

    run(main())


def test_a_complete_answer_counts_for_any_longer_limit_and_a_cut_one_only_for_its_own(tmp_path: Path) -> None:
    seen: list[int | None] = []

    async def main() -> None:
        async with serving(thinker(1000, seen)) as (_, url):
            async with opened(url, tmp_path, longest_answer=64) as chat:
                with pytest.raises(CutOff):
                    await chat.complete(question(1, schema=SCHEMA, max_tokens=64))
                assert (await chat.complete(question(2, schema=SCHEMA, max_tokens=2000))).value == {"a": 1}
            seen.clear()
            async with opened(url, tmp_path) as chat:
                assert (await chat.complete(question(1, schema=SCHEMA, max_tokens=2048))).value == {"a": 1}
                assert (await chat.complete(question(2, schema=SCHEMA, max_tokens=2048))).replayed
            assert seen == [2048]

    run(main())


FILTERS: list[tuple[int, Any]] = [
    (
        400,
        {
            "error": {
                "code": "content_filter",
                "message": "The response was filtered",
                "innererror": {"code": "ResponsibleAIPolicyViolation"},
            }
        },
    ),
    (
        400,
        {"error": {"code": "content_policy_violation", "message": "Your request was rejected as a result of our safety system."}},
    ),
    (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}),
    (400, {"error": {"type": "content_filter", "message": "The request was rejected because it was considered high risk"}}),
    (400, {"error": {"message": "litellm.ContentPolicyViolationError: blocked", "code": "400"}}),
    (400, {"error": {"code": "1301", "message": "sensitive"}}),
    (403, {"error": {"code": 403, "message": "Your chosen model requires moderation and your input was flagged for violence"}}),
    (403, {"message": "blocked by the safety filter"}),
    (451, {"error": {"message": "This is against our usage policies"}}),
    (200, {"error": {"code": 403, "message": "input was flagged"}, "choices": []}),
]


@pytest.mark.parametrize(("status", "body"), FILTERS)
def test_a_filters_refusal_is_an_answer_of_its_own_class_and_paid_once(status: int, body: Any, tmp_path: Path) -> None:
    asked = 0

    async def handle(incoming: Incoming) -> Outgoing:
        nonlocal asked
        asked += 1
        return Outgoing(status, orjson.dumps(body))

    async def main() -> None:
        server = HttpServer(handle)
        url = await server.start()
        for _ in range(2):
            async with opened(url, tmp_path) as chat:
                for number in range(10):
                    reply = await chat.complete(question(number, schema=SCHEMA))
                    assert (reply.finish, reply.filtered, reply.value) == ("refusal", True, None)
        await server.stop()

    run(main())
    assert asked == 10
    assert sum(row.filtered for row in read_ledger([tmp_path / "ledger"])) == 10


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "messages: content must be a string"),
        (403, "you have no access to this model"),
        (400, "the filter parameter is unknown"),
    ],
)
def test_other_refusals_are_no_filters(status: int, message: str) -> None:
    async def handle(incoming: Incoming) -> Outgoing:
        return Outgoing(status, orjson.dumps({"error": {"message": message}}))

    async def main() -> None:
        server = HttpServer(handle)
        async with opened(await server.start()) as chat:
            with pytest.raises(CallFailed):
                await chat.complete(question())
        await server.stop()

    run(main())


def test_single_403s_among_answers_do_not_end_the_run_and_a_key_that_never_worked_does() -> None:
    async def forbidden(incoming: Incoming) -> Outgoing:
        return Outgoing(403, b'{"error":{"message":"forbidden"}}')

    async def mixed(incoming: Incoming) -> Outgoing:
        if any(b'question %d"' % number in incoming.body for number in range(5, 13)):
            return await forbidden(incoming)
        return Outgoing(200, b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    async def main() -> None:
        server = HttpServer(mixed)
        async with opened(await server.start(), max_in_flight=1) as chat:
            told = {n: reply async for n, reply in complete_many(chat, ((n, question(n)) for n in range(30)))}
            assert sum(isinstance(reply, CallFailed) for reply in told.values()) == 8
        await server.stop()
        server = HttpServer(forbidden)
        async with opened(await server.start(), max_in_flight=1) as chat:
            with pytest.raises(EndpointDown, match="403"):
                [reply async for _, reply in complete_many(chat, ((n, question(n)) for n in range(30)))]
        await server.stop()

    run(main())


def test_a_key_that_is_revoked_in_the_middle_ends_the_run_before_it_costs_hundreds_of_items() -> None:
    asked = count()

    async def until_revoked(incoming: Incoming) -> Outgoing:
        if next(asked) > 10:
            return Outgoing(403, b'{"error":{"message":"this account has been closed"}}')
        return Outgoing(200, b'{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}]}')

    async def main() -> int:
        server = HttpServer(until_revoked)
        told: list[Any] = []
        async with opened(await server.start(), max_in_flight=4) as chat:
            with pytest.raises(EndpointDown, match="closed"):
                [told.append(reply) async for _, reply in complete_many(chat, ((n, question(n)) for n in range(300)))]
        await server.stop()
        return sum(isinstance(reply, CallFailed) for reply in told)

    assert run(main()) < 40


def test_the_re_ask_says_the_schema_in_words() -> None:
    seen: list[Request] = []

    def script(request: Request) -> str:
        seen.append(request)
        return "in prose" if len(seen) == 1 else '{"a": 1}'

    async def main() -> Reply:
        async with serving(script) as (_, url), opened(url) as chat:
            return await chat.complete(Request(messages=(user("q"),), schema=SCHEMA))

    assert run(main()).value == {"a": 1}
    assert '"additionalProperties"' in seen[1].messages[-1].text
