"""What every provider must do: the same checks on each one found in the folder."""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from PIL import Image

from millrace.errors import UsageError
from millrace.llm import ChatModel, ImagePart, Reply, Request, ToolCall, assistant, system, tool, tool_result, user
from millrace.llm.failures import AttemptFailed, CallFailed
from millrace.llm.images import ImageEncoder
from millrace.llm.mock_server.faults import FaultPlan
from millrace.llm.mock_server.serve import LocalServer
from millrace.llm.providers import gemini as gemini_provider
from millrace.llm.providers import huggingface, openai_compatible, scripted
from millrace.llm.providers.scripted import default_reply
from millrace.llm.settings import EndpointSettings, ImagePolicy, ModelSettings
from millrace.llm.throttle.byte_budget import ByteBudget
from millrace.llm.transport.http_chat import Resources
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.testing.kinds.provider import PROMISES, Provider
from tests.llm.gemini_server import KEY, GeminiServer, exhausted, gemini
from tests.llm.servers import run, serving

Script = Callable[[Request], Any]


def resources() -> Resources:
    return Resources(ImageEncoder(ImagePolicy()), ByteBudget(10**8))


@contextlib.asynccontextmanager
async def as_openai(script: Script) -> AsyncIterator[tuple[ChatModel, LocalServer]]:
    async with serving(script) as (server, url):
        endpoint = EndpointSettings(base_url=url)
        model = openai_compatible.open_model(ModelSettings(model="scripted", endpoints=(endpoint,)), endpoint, resources())
        yield model, server
        await model.close()


@contextlib.asynccontextmanager
async def as_gemini(script: Script) -> AsyncIterator[tuple[ChatModel, GeminiServer]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GEMINI_TEST_KEY", KEY)
        async with gemini(script) as (server, url):
            endpoint = EndpointSettings(base_url=url, api_key_env="GEMINI_TEST_KEY")
            settings = ModelSettings(provider="gemini", model="gemini-test", endpoints=(endpoint,))
            model = gemini_provider.open_model(settings, endpoint, resources())
            yield model, server
            await model.close()


@contextlib.asynccontextmanager
async def as_scripted(script: Script) -> AsyncIterator[tuple[ChatModel, None]]:
    yield scripted.ScriptedChat(script), None


@contextlib.asynccontextmanager
async def as_huggingface(script: Script) -> AsyncIterator[tuple[ChatModel, None]]:
    class Engine:
        def generate(self, requests: Sequence[Request], images: Sequence[Sequence[bytes]]) -> list[huggingface.Generated]:
            made = []
            for request in requests:
                said = script(request)
                reply = Reply(text=said) if isinstance(said, str) else said
                made.append(huggingface.Generated(reply.text, 7, 3, reply.finish == "stop"))
            return made

    model = huggingface.HuggingFaceChat(Engine, name="tiny", batch_size=4, images=ImageEncoder(ImagePolicy()))
    yield model, None
    await model.close()


def by_the_mock_server(provider: str, key: str | None = None, **settings: Any) -> Any:
    """How a provider is opened whose API the project's own server speaks."""

    @contextlib.asynccontextmanager
    async def opened(script: Script) -> AsyncIterator[tuple[ChatModel, LocalServer]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MOCK_KEY", "sk-mock-0123456789abcdef")
            async with serving(script, key="sk-mock-0123456789abcdef") as (server, url):
                address = url.removesuffix("/v1") if provider == "azure_openai" else url
                endpoint = EndpointSettings(base_url=address, api_key_env="MOCK_KEY")
                chosen = ModelSettings(provider=provider, model="scripted", endpoints=(endpoint,), **settings)
                plugin = load_plugin("millrace.llm.providers", provider, "provider")
                model = plugin.open_model(chosen, endpoint, resources())
                yield model, server
                await model.close()

    return opened


OPENED: dict[str, Any] = {
    "anthropic": by_the_mock_server("anthropic"),
    "azure_openai": by_the_mock_server("azure_openai", options={"api_version": "2024-10-21"}),
    "openai_responses": by_the_mock_server("openai_responses"),
    "openai_compatible": as_openai,
    "gemini": as_gemini,
    "scripted": as_scripted,
    "huggingface": as_huggingface,
}
REMOTE = ["openai_compatible", "gemini", "anthropic", "azure_openai", "openai_responses"]
MISSING = {"anthropic": ("seed",), "openai_responses": ("stop", "seed")}
"""What an API does not have."""
every_provider = pytest.mark.parametrize("name", sorted(OPENED))
every_remote = pytest.mark.parametrize("name", REMOTE)


def asked(name: str, script: Script, request: Request) -> Reply:
    async def main() -> Reply:
        async with OPENED[name](script) as (model, _):
            reply: Reply = await model.complete(request)
            return reply

    return run(main())


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(out, "PNG")
    return out.getvalue()


def test_every_provider_in_the_folder_is_checked_here() -> None:
    assert set(OPENED) == set(plugin_names("millrace.llm.providers"))


@every_provider
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_a_provider_keeps_its_contract(name: str, promise: Callable[[Provider], None]) -> None:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[ChatModel]:
        async with OPENED[name](default_reply) as (model, _):
            yield model

    promise(Provider(opened))


@every_provider
def test_the_whole_conversation_reaches_the_model(name: str) -> None:
    def script(request: Request) -> str:
        return "|".join(f"{message.role}:{message.text}" for message in request.messages)

    request = Request(messages=(system("be brief"), user("one"), assistant("first"), user("two ", "three")))
    assert asked(name, script, request).text == "system:be brief|user:one|assistant:first|user:two three"


@every_provider
def test_it_counts_tokens(name: str) -> None:
    usage = asked(name, lambda request: "some words", Request(messages=(user("hello there"),))).usage
    assert usage.input_tokens
    assert usage.output_tokens


@every_provider
def test_an_answer_that_was_cut_says_so(name: str) -> None:
    reply = asked(name, lambda request: Reply(text="half a sent", finish="length"), Request(messages=(user("x"),), max_tokens=3))
    assert (reply.text, reply.finish) == ("half a sent", "length")


@every_provider
def test_a_schema_reaches_the_model_in_some_form(name: str) -> None:
    schema = {"type": "object", "properties": {"colour_of_it": {"type": "string"}}, "required": ["colour_of_it"]}

    def script(request: Request) -> str:
        told = request.schema == schema or "colour_of_it" in request.messages[-1].text
        return '{"colour_of_it": "red"}' if told else "nothing was said about JSON"

    assert asked(name, script, Request(messages=(user("x"),), schema=schema)).text == '{"colour_of_it": "red"}'


@every_remote
def test_sampling_parameters_arrive(name: str) -> None:
    def script(request: Request) -> str:
        return f"{request.temperature} {request.top_p} {request.max_tokens} {list(request.stop)} {request.seed}"

    request = Request(messages=(user("x"),), temperature=0.5, top_p=0.9, max_tokens=77, stop=("END",), seed=3)
    stop, seed = ("stop" not in MISSING.get(name, ())), ("seed" not in MISSING.get(name, ()))
    assert asked(name, script, request).text == f"0.5 0.9 77 {['END'] if stop else []} {3 if seed else None}"


@every_remote
def test_an_answer_ends_at_a_stop_word_also_where_the_api_has_none(name: str) -> None:
    def script(request: Request) -> str:
        return "before" if request.stop else "before END after"

    assert asked(name, script, Request(messages=(user("x"),), stop=(" END",))).text == "before"


@every_remote
def test_images_arrive_byte_for_byte_in_their_places(name: str) -> None:
    data = picture()

    def script(request: Request) -> str:
        return " ".join(
            "same" if isinstance(part, ImagePart) and part.data == data else str(part) for part in request.messages[0].parts
        )

    request = Request(messages=(user("a", ImagePart(data=data), "b", ImagePart(data=data)),))
    assert asked(name, script, request).text == "a same b same"


@every_remote
def test_a_tool_call_goes_out_and_its_result_comes_back(name: str) -> None:
    add = tool("add", "adds", {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})

    def script(request: Request) -> Reply:
        if request.messages[-1].role == "tool":
            assert request.messages[-2].tool_calls[0].arguments == {"a": 4}
            return Reply(text="the sum is " + request.messages[-1].text)
        assert request.tools == (add,)
        return Reply(text="", finish="tool_calls", tool_calls=(ToolCall(id="c1", name="add", arguments={"a": 4}),))

    async def main() -> str:
        async with OPENED[name](script) as (model, _):
            first = await model.complete(Request(messages=(user("4?"),), tools=(add,), tool_choice="required"))
            assert first.finish == "tool_calls"
            (call,) = first.tool_calls
            assert (call.name, call.arguments) == ("add", {"a": 4})
            turns = (user("4?"), assistant(tool_calls=first.tool_calls), tool_result(call, "9"))
            second: Reply = await model.complete(Request(messages=turns, tools=(add,)))
            return second.text

    assert run(main()) == "the sum is 9"


@every_remote
def test_a_refusal_is_a_reply(name: str) -> None:
    assert asked(name, lambda request: Reply(text="no", finish="refusal"), Request(messages=(user("x"),))).finish == "refusal"


def failure(name: str, fault: str, **plan: Any) -> AttemptFailed:
    """The failure of one attempt against a fault."""

    async def main() -> AttemptFailed:
        async with serving(faults={fault: 1.0}, **plan) as (_, url):
            endpoint = EndpointSettings(base_url=url)
            model = openai_compatible.open_model(ModelSettings(model="scripted", endpoints=(endpoint,)), endpoint, resources())
            with pytest.raises(AttemptFailed) as caught:
                await model.complete(Request(messages=(user("x"),), timeout_s=1.0))
            await model.close()
            return caught.value

    return run(main())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("500", "server"),
        ("503", "overload"),
        ("429", "overload"),
        ("reset", "connection"),
        ("half", "connection"),
        ("malformed", "malformed"),
        ("wrong_json", "malformed"),
        ("empty", "malformed"),
        ("html", "malformed"),
        ("redirect", "rejected"),
        ("error", "malformed"),
        ("hang", "timeout"),
    ],
)
def test_each_fault_has_its_class(fault: str, kind: str) -> None:
    assert failure("openai_compatible", fault).kind == kind


def test_a_redirect_names_where_it_points() -> None:
    assert "elsewhere.invalid" in failure("openai_compatible", "redirect").detail


def test_retry_after_is_read_from_the_header() -> None:
    assert failure("openai_compatible", "429", retry_after_s=7.5).retry_after_s == 7.5


def test_geminis_wait_is_read_from_the_body() -> None:
    async def main() -> None:
        async with as_gemini(lambda request: exhausted("55s")) as (model, _):
            with pytest.raises(AttemptFailed) as caught:
                await model.complete(Request(messages=(user("x"),)))
            assert (caught.value.kind, caught.value.retry_after_s) == ("overload", 55.0)

    run(main())


def test_geminis_wrong_key_is_a_matter_of_credentials() -> None:
    async def main() -> None:
        async with as_gemini(lambda request: "x") as (_, server):
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("WRONG", "AIza-wrong-key-0000000000")
                endpoint = EndpointSettings(base_url=(await server.http.start()) + "/v1beta", api_key_env="WRONG")
                settings = ModelSettings(provider="gemini", model="gemini-test", endpoints=(endpoint,))
                model = gemini_provider.open_model(settings, endpoint, resources())
                with pytest.raises(AttemptFailed) as caught:
                    await model.complete(Request(messages=(user("x"),)))
                assert caught.value.kind == "credentials"
                assert "AIza-wrong" not in str(caught.value)
                await model.close()

    run(main())


def test_geminis_key_is_never_in_a_path() -> None:
    async def main() -> None:
        async with as_gemini(lambda request: "x") as (model, server):
            await model.complete(Request(messages=(user("x"),)))
            await model.models()
            assert not [path for path in server.paths if KEY in path]

    run(main())


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII", "BLOCKLIST"])
def test_geminis_blocked_answers_are_refusals(reason: str) -> None:
    dialect = gemini_provider.GeminiDialect(gemini_provider.Options())
    reply = dialect.reply(b'{"candidates":[{"finishReason":"%b"}],"usageMetadata":{"promptTokenCount":4}}' % reason.encode())
    assert (reply.finish, reply.usage.input_tokens) == ("refusal", 4)


@pytest.mark.parametrize("reason", ["OTHER", "MALFORMED_FUNCTION_CALL", "A_REASON_OF_NEXT_YEAR"])
def test_geminis_broken_answers_are_asked_for_again(reason: str) -> None:
    dialect = gemini_provider.GeminiDialect(gemini_provider.Options())
    with pytest.raises(ValueError, match=reason):
        dialect.reply(b'{"candidates":[{"finishReason":"%b"}]}' % reason.encode())


def test_geminis_thoughts_are_not_part_of_the_answer() -> None:
    dialect = gemini_provider.GeminiDialect(gemini_provider.Options())
    body = b'{"candidates":[{"content":{"parts":[{"text":"hm","thought":true},{"text":"yes"}]},"finishReason":"STOP"}]}'
    assert dialect.reply(body).text == "yes"


def test_tool_arguments_that_are_no_json_are_kept_as_text() -> None:
    call = openai_compatible.tool_call("add", '{"a": 1', "c")
    assert (call.arguments, call.invalid) == ({}, '{"a": 1')


def test_a_server_without_schema_mode_is_asked_in_weaker_ways() -> None:
    """Some servers answer 400 to `json_schema`; the client notices once and remembers."""
    from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing

    asked_with: list[str] = []

    async def picky(incoming: Incoming) -> Outgoing:
        mode = "json_schema" if b"json_schema" in incoming.body else "json_object" if b"json_object" in incoming.body else "words"
        asked_with.append(mode)
        if mode != "words":
            return Outgoing(400, b'{"error":{"message":"response_format is not supported"}}')
        return Outgoing(200, b'{"choices":[{"message":{"content":"{}"},"finish_reason":"stop"}]}')

    async def main() -> None:
        server = HttpServer(picky)
        endpoint = EndpointSettings(base_url=await server.start())
        model = openai_compatible.open_model(ModelSettings(model="m", endpoints=(endpoint,)), endpoint, resources())
        for number in range(2):
            assert (await model.complete(Request(messages=(user(str(number)),), schema={"type": "object"}))).text == "{}"
        await model.close()
        await server.stop()

    run(main())
    assert asked_with == ["json_schema", "json_object", "words", "words"]


def test_local_requests_that_come_together_share_a_batch() -> None:
    batches: list[int] = []

    class Engine:
        def generate(self, requests: Sequence[Request], images: object) -> list[huggingface.Generated]:
            batches.append(len(requests))
            return [huggingface.Generated(request.messages[0].text, 1, 1, True) for request in requests]

    async def main() -> list[str]:
        import asyncio

        model = huggingface.HuggingFaceChat(Engine, name="tiny", batch_size=4, images=ImageEncoder(ImagePolicy()))
        replies = await asyncio.gather(*(model.complete(Request(messages=(user(str(number)),))) for number in range(10)))
        await model.close()
        return [reply.text for reply in replies]

    assert run(main()) == [str(number) for number in range(10)]
    assert max(batches) == 4
    assert len(batches) <= 4


def test_a_batch_that_fails_fails_its_requests_and_no_others() -> None:
    class Engine:
        def generate(self, requests: Sequence[Request], images: object) -> list[huggingface.Generated]:
            if any("bad" in request.messages[0].text for request in requests):
                raise RuntimeError("CUDA out of memory")
            return [huggingface.Generated("fine", 1, 1, True) for _ in requests]

    async def main() -> None:
        model = huggingface.HuggingFaceChat(Engine, name="tiny", batch_size=1, images=ImageEncoder(ImagePolicy()))
        with pytest.raises(CallFailed, match="out of memory"):
            await model.complete(Request(messages=(user("bad"),)))
        assert (await model.complete(Request(messages=(user("good"),)))).text == "fine"
        await model.close()

    run(main())


def test_a_key_that_is_not_set_is_said_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    endpoint = EndpointSettings(base_url="http://127.0.0.1:1/v1", api_key_env="NO_SUCH_KEY")
    with pytest.raises(UsageError, match="NO_SUCH_KEY"):
        openai_compatible.open_model(ModelSettings(model="m", endpoints=(endpoint,)), endpoint, resources())


def test_the_fault_plan_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="did you mean 'reset'"):
        FaultPlan(faults={"resett": 0.1})
