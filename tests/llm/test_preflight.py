"""The preflight asks as the run will ask; a list of models only helps its messages."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from millrace.config import Settings
from millrace.errors import UsageError
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.preflight import preflight
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.trial import SCHEMA, Trial, trials_in
from millrace.probing.baselines import baseline_settings
from millrace.probing.judges import judge_settings
from millrace.qa.writers import writer_settings
from tests.llm.servers import opened, run, serving
from tests.llm.test_forms import no_max_tokens, no_temperature, refused

ANSWER = '{"colour": "red", "reason": "seen"}'


class Server:
    """Answers chats with `answer`, and lists models as it is told."""

    def __init__(self, models: Outgoing, answer: Any = ANSWER, *rules: Any, name: str = "m") -> None:
        self.models, self.answer, self.rules, self.name = models, answer, rules, name
        self.bodies: list[dict[str, Any]] = []
        self.http = HttpServer(self.handle)

    async def handle(self, incoming: Incoming) -> Outgoing:
        if incoming.path.endswith("/models"):
            return self.models
        body = orjson.loads(incoming.body)
        for rule in self.rules:
            answer = rule(body)
            if answer is not None:
                return answer
        self.bodies.append(body)
        if isinstance(self.answer, Outgoing):
            return self.answer
        message = {"message": {"content": self.answer}, "finish_reason": "stop"}
        return Outgoing(200, orjson.dumps({"model": self.name, "choices": [message]}))


def found(server: Server, model: str = "m", **trial: Any) -> str:
    async def main() -> str:
        try:
            async with opened(await server.http.start(), model=model) as chat:
                asked = Trial(chat.settings, "baseline", **trial)
                (line,) = await preflight(chat, trial=asked)
                return line
        finally:
            await server.http.stop()

    return run(main())


def listing(value: Any, status: int = 200) -> Outgoing:
    return Outgoing(status, orjson.dumps(value))


LISTS: dict[str, Outgoing] = {
    "prefixes": listing({"data": [{"id": "models/m"}]}),
    "a bare list": listing([{"id": "m"}]),
    "bare names": listing(["m"]),
    "wildcards": listing({"data": [{"id": "*"}]}),
    "other names": listing({"data": [{"id": "gpt-4o-2024-08-06"}]}),
    "empty": listing({"data": []}),
    "null": listing({"data": None}),
    "no list": listing({}, 404),
    "a key that may not list": listing({"error": {"message": "no"}}, 403),
    "no permission": listing({"error": {"message": "no"}}, 401),
    "broken": listing({"error": {"message": "oops"}}, 500),
    "a web page": Outgoing(200, b"<html>", content_type="text/html"),
    "nonsense": listing({"data": [1, None, {"id": 3}]}),
}


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_server_that_answers_is_usable_whatever_it_lists(name: str) -> None:
    assert found(Server(LISTS[name])).startswith("m ")


def test_a_model_that_the_server_does_not_have_is_named_with_those_it_has() -> None:
    server = Server(listing({"data": [{"id": "qwen-vl"}, {"id": "other"}]}), refused("model not found", status=404))
    with pytest.raises(UsageError, match="has no model 'qwen-v'; did you mean 'qwen-vl'"):
        found(server, "qwen-v")


def test_a_server_that_answers_to_a_slip_of_the_pen_with_its_only_model_is_noticed() -> None:
    with pytest.raises(UsageError, match="no model 'qwen-vk'; did you mean 'qwen-vl'"):
        found(Server(listing({"data": [{"id": "qwen-vl"}]}), name="qwen-vl"), "qwen-vk")
    with pytest.raises(UsageError, match="no model 'crowds'; did you mean 'crowd'"):
        found(Server(listing({"data": [{"id": "crowd"}]}), name="crowd"), "crowds")
    dated = Server(listing({"data": [{"id": "gpt-5-2025-08-07"}]}), name="gpt-5-2025-08-07")
    assert found(dated, "gpt-5").startswith("gpt-5 answers at")


def test_the_question_has_what_the_run_will_send() -> None:
    server = Server(LISTS["no list"])
    found(server, temperature=0.3, max_tokens=77, seed=5)
    (body,) = server.bodies
    assert (body["temperature"], body["max_tokens"], body["seed"]) == (0.3, 77, 5)
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "data:image/png;base64," in orjson.dumps(body).decode()


def test_a_reasoning_model_passes_at_the_first_start() -> None:
    server = Server(LISTS["empty"], ANSWER, no_max_tokens, no_temperature)
    assert "answers at" in found(server, temperature=0.0, max_tokens=512)


def test_what_the_user_should_know_is_said() -> None:
    cut = Outgoing(200, b'{"choices":[{"message":{"content":""},"finish_reason":"length"}]}')
    assert "thinks past max_tokens=512" in found(Server(LISTS["empty"], cut), max_tokens=512)
    assert "does not go by JSON schemas" in found(Server(LISTS["empty"], "It is red."))


def test_a_model_without_eyes_is_refused_in_a_role_that_shows_pictures() -> None:
    with pytest.raises(UsageError, match="takes no pictures, and baseline shows it some"):
        found(Server(LISTS["empty"], refused("image input is not supported by this model")))


def test_a_busy_server_is_no_wrong_setting() -> None:
    assert "is busy at" in found(Server(LISTS["empty"], refused("slow down", status=429)))


def test_a_fault_that_passes_is_asked_again() -> None:
    told = [refused("oops", status=500), None]
    assert "answers at" in found(Server(LISTS["empty"], ANSWER, lambda body: told.pop(0)))


def test_each_role_is_tried_with_its_own_limits() -> None:
    chat = {"model": "m", "endpoints": [{"base_url": "http://h/v1"}]}
    baseline: Settings = baseline_settings({"name": "endpoint", "chat": chat, "temperature": 0.5, "max_tokens": 100, "seed": 4})
    judge = judge_settings({"name": "endpoint", "chats": [chat, {**chat, "model": "n"}], "max_tokens": 200})
    writer = writer_settings({"name": "endpoint", "chat": chat, "answerers": [chat], "temperature": 0.7})
    tried = [trial for part in (baseline, judge, writer) for trial in trials_in(part)]
    assert [(one.settings.model, one.role, one.temperature, one.max_tokens, one.seed) for one in tried] == [
        ("m", "chat", 0.5, 100, 4),
        ("m", "chats", 0.0, 200, None),
        ("n", "chats", 0.0, 200, None),
        ("m", "chat", 0.7, 512, None),
        ("m", "answerers", 0.0, 512, None),
    ]
    assert isinstance(tried[0].settings, ModelSettings)
    assert tried[0].settings.endpoints == (EndpointSettings(base_url="http://h/v1"),)


@pytest.mark.parametrize("structured", ["auto", "prompt"])
def test_the_rehearsal_server_counts_a_trial_apart(structured: str) -> None:
    async def main() -> None:
        async with serving(faults={"500": 1.0}) as (server, url), opened(url, structured=structured) as chat:
            await preflight(chat, trial=Trial(chat.settings, "baseline"))
            assert (server.trials, server.statistics()["requests"]) == (1, 0)

    run(main())
