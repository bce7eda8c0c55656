"""Providers: one attempt at a chat request gives a reply, or one of the failures that the client knows what to do about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from millrace.config import parse_config
from millrace.errors import ItemFailed
from millrace.llm import ChatModel, JsonSchema, Reply, Request, system, user
from millrace.llm.failures import AttemptFailed
from millrace.llm.open_chat import open_chat
from millrace.llm.settings import ModelSettings
from millrace.plugins.loading import load_plugin
from millrace.testing.fakes import served
from millrace.testing.kinds import kept

FOLDER = "millrace.llm.providers"
WORD = "provider"


@dataclass(frozen=True)
class Provider:
    """A provider; each promise opens its model anew, in an event loop of its own."""

    open: Callable[[], AbstractAsyncContextManager[ChatModel]]


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Provider]:
    """The model of `settings`. One that needs endpoints and is given none gets a local server that speaks OpenAI's form."""
    needs = load_plugin(FOLDER, name, WORD).NEEDS_ENDPOINTS and "endpoints" not in settings
    with served() if needs else contextlib.nullcontext(None) as url:
        told: dict[str, Any] = {"provider": name, "model": "model-under-test", **settings}
        if url is not None:
            told["endpoints"] = [{"base_url": url}]
        config = parse_config(ModelSettings, told, where="--plugin-settings")

        @contextlib.asynccontextmanager
        async def model() -> Any:
            chat = open_chat(config, None)
            try:
                yield chat.pool.endpoints[0].model
            finally:
                await chat.close()

        yield Provider(model)


def ask(provider: Provider, *requests: Request) -> list[Reply | BaseException]:
    """What comes of requests made at the same time."""

    async def main() -> list[Reply | BaseException]:
        async with provider.open() as model:
            return await asyncio.gather(*(model.complete(request) for request in requests), return_exceptions=True)

    return asyncio.run(main())


def it_is_a_chat_model_that_closes_twice(provider: Provider) -> None:
    """It has a name for records and the ledger."""

    async def main() -> None:
        async with provider.open() as model:
            kept(isinstance(model, ChatModel), "what it opens is no chat model: it needs name, complete and close")
            kept(isinstance(model.name, str) and model.name, f"its name must be a text, not {model.name!r}")
            await model.close()
            await model.close()

    asyncio.run(main())


def it_answers_a_conversation(provider: Provider) -> None:
    """With a reply: some text, a reason why it stopped."""
    (reply,) = ask(provider, Request(messages=(system("Be brief."), user("Say yes.")), max_tokens=64))
    if isinstance(reply, BaseException):
        raise AssertionError(f"it answered 'Say yes.' with {type(reply).__name__}: {reply}")
    kept(isinstance(reply, Reply), f"complete must give a millrace.llm.Reply, not a {type(reply).__name__}")
    kept(reply.text or reply.tool_calls or reply.finish == "refusal", "the reply is empty")
    kept(reply.finish in ("stop", "length", "tool_calls", "refusal"), f"finish is '{reply.finish}'")


def its_tokens_are_counted_or_unknown(provider: Provider) -> None:
    """Unknown is None and never 0: costs are made of these."""
    (reply,) = ask(provider, Request(messages=(user("Say yes."),), max_tokens=64))
    usage = reply.usage if isinstance(reply, Reply) else None
    for name in ("input_tokens", "output_tokens"):
        count = None if usage is None else {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}[name]
        known = count is None or (isinstance(count, int) and count > 0)
        kept(known, f"usage.{name} is {count!r}; leave it None where it is unknown")


def several_requests_at_once_all_get_their_own_reply(provider: Provider) -> None:
    """The client keeps many in flight."""
    requests = [Request(messages=(user(f"Repeat the number {number}."),), max_tokens=64) for number in range(8)]
    for request, reply in zip(requests, ask(provider, *requests), strict=True):
        if isinstance(reply, BaseException):
            raise AssertionError(f"'{request.messages[0].text}' ended in {type(reply).__name__}: {reply}")


def what_it_cannot_do_it_says_by_a_failure_that_the_client_knows(provider: Provider) -> None:
    """AttemptFailed (may be tried again) or CallFailed (will not be answered); another exception ends the whole run."""
    picture: JsonSchema = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    for request in (
        Request(messages=(user("Which colour?"),), schema=picture, max_tokens=64),
        Request(messages=(user("x" * 20_000),), max_tokens=16),
        Request(messages=(user(""),), max_tokens=16),
    ):
        (reply,) = ask(provider, request)
        known = isinstance(reply, Reply | AttemptFailed | ItemFailed)
        kept(known, f"a request that it may not like ended in {type(reply).__name__}: {reply}; raise CallFailed or AttemptFailed")


PROMISES = (
    it_is_a_chat_model_that_closes_twice,
    it_answers_a_conversation,
    its_tokens_are_counted_or_unknown,
    several_requests_at_once_all_get_their_own_reply,
    what_it_cannot_do_it_says_by_a_failure_that_the_client_knows,
)
