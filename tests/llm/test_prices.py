"""What is paid and what will be: list prices by the call, pictures and thoughts by the model, replies that were thrown away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from millrace.llm import Usage
from millrace.llm.estimate import THOUGHT_TOKENS, about_a_picture, call_of, lines_of
from millrace.llm.image_tokens import image_tokens
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.prices import cost_usd, price_of
from millrace.llm.settings import EndpointSettings, ModelSettings, Price
from millrace.llm.store.ledger import read_ledger
from millrace.records.llm import LedgerRow, ListPrice
from tests.llm.servers import opened, question, run

PROXY = "http://127.0.0.1:4000/v1"


def model(name: str, *urls: str, **changed: Any) -> ModelSettings:
    endpoints = tuple(EndpointSettings(base_url=url) for url in urls or (PROXY,))
    return ModelSettings(**{"model": name, "endpoints": endpoints, **changed})


DATED = ["gpt-5-2025-08-07", "claude-sonnet-4-5-20250929"]
NEW = ["gpt-5", "gpt-5.2", "gemini-3-pro-preview", "claude-sonnet-4-5", "gpt-4.1-mini"]
OWNED = ["models/gemini-2.5-flash", "openai/gpt-4o", "azure/gpt-4o-mini", "openrouter/anthropic/claude-sonnet-4-5"]


@pytest.mark.parametrize("name", [*DATED, *NEW, *OWNED])
def test_newer_and_dated_names_have_a_price_also_behind_a_proxy(name: str) -> None:
    cost = cost_usd(Usage(input_tokens=1000, output_tokens=1000), price_of(model(name)))
    assert cost is not None
    assert 0.0001 < cost < 0.5


@pytest.mark.parametrize(
    "name", ["gpt-oss-120b", "deepseek-chat", "Qwen/Qwen3-VL-8B-Instruct", "mistral-large-latest", "mine", "o"]
)
def test_open_weights_on_a_server_of_ones_own_are_not_priced_as_others_price_them(name: str) -> None:
    assert price_of(model(name)) is None
    assert cost_usd(Usage(input_tokens=1, output_tokens=1), price_of(model(name))) is None


def test_a_provider_is_known_by_its_address_and_the_config_has_the_last_word() -> None:
    found = price_of(model("deepseek-chat", "https://api.deepseek.com/v1"))
    assert isinstance(found, ListPrice)
    assert price_of(model("deepseek-chat", "https://api.deepseek.com/v1", PROXY)) is None
    mine = Price(input_usd=1, output_usd=2)
    assert price_of(model("gpt-5", price=mine)) == mine
    assert price_of(ModelSettings(provider="huggingface", model="a/b")) == Price(input_usd=0, output_usd=0)


def test_cached_tokens_and_long_contexts_have_prices_of_their_own() -> None:
    gpt, gemini = price_of(model("gpt-5")), price_of(model("gemini-2.5-pro"))
    plain = cost_usd(Usage(input_tokens=100_000, output_tokens=0), gpt)
    cached = cost_usd(Usage(input_tokens=100_000, output_tokens=0, cached_tokens=100_000), gpt)
    assert plain == pytest.approx(10 * (cached or 0))
    short = cost_usd(Usage(input_tokens=100_000, output_tokens=0), gemini)
    long = cost_usd(Usage(input_tokens=300_000, output_tokens=0), gemini)
    assert short is not None
    assert long is not None
    assert long > 3.5 * short, "above 200,000 tokens each one costs more"


def test_an_estimate_is_priced_by_the_call_and_not_by_the_sum() -> None:
    planned = [about_a_picture("judge", 1_000_000)]
    (first, *_) = lines_of([(model("gemini-2.5-pro", options={}), planned[0])])
    call = call_of(model("gemini-2.5-pro"), planned[0]).usage
    one = cost_usd(call, price_of(model("gemini-2.5-pro")))
    assert one is not None
    assert f"about ${1_000_000 * one:.2f}" in first


@pytest.mark.parametrize(
    ("name", "size", "tokens"),
    [
        ("gpt-4o-mini", (1024, 1024), 2833 + 4 * 5667),
        ("gpt-4o", (1024, 1024), 85 + 4 * 170),
        ("gpt-4o", (2048, 4096), 85 + 6 * 170),
        ("gpt-5", (512, 512), 70 + 140),
        ("gpt-4.1-mini", (1024, 1024), 1659),
        ("gemini-2.5-flash", (300, 300), 258),
        ("gemini-3-pro-preview", (1024, 768), 1120),
        ("claude-sonnet-4-5", (1000, 1000), 1333),
        ("Qwen/Qwen3-VL-8B-Instruct", (320, 320), 100),
        ("Qwen/Qwen2.5-VL-7B-Instruct", (280, 280), 100),
    ],
)
def test_a_picture_takes_the_tokens_that_its_models_maker_says(name: str, size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(*size, name) == tokens


def test_thoughts_are_part_of_an_estimate_and_it_says_so() -> None:
    planned = about_a_picture("judge", 10, pictures=0)
    assert (call_of(model("gpt-5"), planned).usage.output_tokens or 0) - planned.output_tokens == THOUGHT_TOKENS
    assert call_of(model("gpt-4o"), planned).usage.output_tokens == planned.output_tokens
    off = model("gemini-2.5-flash", provider="gemini", options={"thinking_budget": 0})
    assert call_of(off, planned).usage.output_tokens == planned.output_tokens
    assert "thoughts per answer are assumed" in lines_of([(model("gpt-5"), planned)])[-1]


def test_replies_that_are_thrown_away_are_in_the_ledger(tmp_path: Path) -> None:
    broken = {"choices": [{"message": {"content": None}, "finish_reason": "error"}]}
    told: list[Any] = [broken | {"usage": {"prompt_tokens": 100, "completion_tokens": 50}}, broken]

    async def handle(incoming: Incoming) -> Outgoing:
        good = {"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]}
        whole = told.pop(0) if told else good | {"usage": {"prompt_tokens": 100, "completion_tokens": 2}}
        return Outgoing(200, orjson.dumps(whole))

    async def main() -> None:
        server = HttpServer(handle)
        price = Price(input_usd=1000, output_usd=1000)
        async with opened(await server.start(), tmp_path, price=price, max_cost_usd=100) as chat:
            assert (await chat.complete(question(stage="judge"))).text == "ok"
            assert chat._spent_usd == pytest.approx(0.252)
        await server.stop()

    run(main())
    (row,) = read_ledger([tmp_path / "ledger"])
    assert (row.stage, row.calls, row.requests, row.discarded) == ("judge", 1, 3, 2)
    assert (row.input_tokens, row.output_tokens) == (200, 52)
    assert row.cost_usd == pytest.approx(0.252)


def test_the_first_answers_of_a_run_say_how_many_tokens_the_rest_will_take() -> None:
    planned = about_a_picture("judge", 1000)
    few = LedgerRow(day="d", stage="judge", model="gpt-5-2025-08-07", calls=5, input_tokens=50_000, output_tokens=10_000)
    enough = msgspec.structs.replace(few, calls=45, unknown_tokens=5, input_tokens=80_000, output_tokens=20_000)
    other = LedgerRow(day="d", stage="write", model="gpt-5", calls=100, input_tokens=1, output_tokens=1)
    assert call_of(model("gpt-5"), planned, [few, other]) == call_of(model("gpt-5"), planned)
    assert call_of(model("gpt-5"), planned, [enough, other]).usage == Usage(input_tokens=2000, output_tokens=500)
    lines = lines_of([(model("gpt-5"), planned)], [enough])
    assert "2,000,000 + 500,000 tokens" in lines[0]
    assert "measured on this run's answers (40 of judge)" in lines[-2]
    assert "paid so far in this folder, and not asked again: $0.0000 for 45 model calls" in lines[-1]
    assert "thoughts per answer are assumed" not in " ".join(lines)
    assert "measured" not in " ".join(lines_of([(model("gpt-5"), planned)], [few]))
    next_stage = [(model("gpt-5"), planned), (model("gpt-5"), about_a_picture("difficulty", 1000))]
    assert "2,000,000 + 500,000 tokens" in lines_of(next_stage, [enough])[1], "one picture, the same model, not yet asked"
    blind = [(model("gpt-5"), planned), (model("gpt-5"), about_a_picture("blind", 1000, pictures=0))]
    assert "2,000,000 + 500,000 tokens" not in lines_of(blind, [enough])[1], "no picture: another call"
    assert "2,000,000 + 500,000 tokens" not in lines_of([(model("gpt-4o"), planned)], [enough])[0], "another model"
