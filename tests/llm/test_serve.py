"""The local server as a command, the preflight, the door for code without an event loop."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import ItemFailed, UsageError
from millrace.llm import Reply, Request, user
from millrace.llm.client.blocking import BlockingChat
from millrace.llm.estimate import Planned, lines_of
from millrace.llm.failures import CallFailed, EndpointDown
from millrace.llm.image_tokens import image_tokens
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.mock_server.serve import main as serve_main
from millrace.llm.open_chat import open_chat
from millrace.llm.preflight import preflight, reach_all
from millrace.llm.settings import EndpointSettings, ModelSettings
from tests.llm.servers import opened, question, run, serving

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def command(*arguments: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "millrace.llm.mock_server", "--port", "0", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[-1]
    finally:
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "requests" in out


def settings(url: str, **changed: object) -> ModelSettings:
    return ModelSettings(**{"model": "scripted", "endpoints": (EndpointSettings(base_url=url),), **changed})


def test_the_command_serves_a_model_until_it_is_told_to_stop(tmp_path: Path) -> None:
    with command("--latency-ms", "5", "--fault", "500=0.2") as url:
        with BlockingChat(lambda: open_chat(settings(url), tmp_path)) as chat:
            assert chat.preflight() == [f"scripted is served at {url.removesuffix('/v1')}"]
            replies = chat.complete_all([question(number) for number in range(40)])
            assert [type(reply) for reply in replies] == [Reply] * 40
            assert chat.complete(question(3)).replayed
        with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=5) as answer:
            assert json.loads(answer.read())["distinct"] == 40


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fault", "resett=0.1"], "did you mean 'reset'"),
        (["--fault", "500=1.5"], "between 0 and 1"),
        (["--provider", "nothing"], "package.module:function"),
        (["--provider", "no.such:thing"], "cannot be imported"),
        (["--api-key-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve_main(["--port", "0", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said


def test_a_taken_port_is_one_sentence() -> None:
    async def main() -> str:
        async with serving() as (_, url):
            port = url.rsplit(":", 1)[1].split("/")[0]
            done = subprocess.run(
                [sys.executable, "-m", "millrace.llm.mock_server", "--port", port],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 2
            return done.stderr

    assert "cannot listen" in run(main())


def told(url: str, *, wait_s: float = 0.0, key_env: str | None = None, **changed: object) -> str:
    """What the preflight says about a wrong setting."""

    async def main() -> str:
        async with opened(url, key_env=key_env, connect_timeout_s=1.0, **changed) as chat:
            with pytest.raises(UsageError) as caught:
                await preflight(chat, wait_s=wait_s)
            return str(caught.value)

    return run(main())


def test_the_preflight_says_that_nobody_answers() -> None:
    assert "no server answers at http://127.0.0.1:9/v1" in told("http://127.0.0.1:9/v1")


def test_the_preflight_says_that_the_model_is_unknown_and_which_are_known() -> None:
    async def main() -> str:
        async with serving() as (_, url), opened(url, model="scriptde") as chat:
            with pytest.raises(UsageError) as caught:
                await preflight(chat)
            return str(caught.value)

    assert "no model 'scriptde'; did you mean 'scripted'?" in run(main())


def test_the_preflight_says_that_the_key_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-wrong-0123456789abcdef")

    async def main() -> list[str]:
        said = []
        async with serving(key="sk-right-0123456789abcdef") as (_, url):
            for key_env in ("A_KEY", None):
                async with opened(url, key_env=key_env) as chat:
                    with pytest.raises(UsageError) as caught:
                        await preflight(chat)
                    said.append(str(caught.value))
        return said

    refused, wanted = run(main())
    assert "the key was refused" in refused
    assert "sk-wrong" not in refused
    assert "it wants a key" in wanted


def test_the_preflight_says_that_it_is_a_web_page() -> None:
    async def page(incoming: Incoming) -> Outgoing:
        return Outgoing(200, b"<!doctype html><title>Hello</title>", content_type="text/html")

    async def main() -> str:
        server = HttpServer(page)
        async with opened(await server.start()) as chat:
            with pytest.raises(UsageError) as caught:
                await preflight(chat)
        await server.stop()
        return str(caught.value)

    said = run(main())
    assert "not the address of a chat API" in said
    assert "'Hello'" in said


def test_the_preflight_asks_one_short_question_where_there_is_no_list() -> None:
    asked: list[str] = []

    async def listless(incoming: Incoming) -> Outgoing:
        asked.append(incoming.path)
        if incoming.path.endswith("/models"):
            return Outgoing(404, b"{}")
        return Outgoing(200, b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}')

    async def main() -> None:
        server = HttpServer(listless)
        async with opened(await server.start()) as chat:
            (line,) = await preflight(chat)
            assert "answers at" in line
        await server.stop()

    run(main())
    assert asked == ["/models", "/chat/completions"]


def test_the_preflight_waits_for_a_server_that_is_starting() -> None:
    import asyncio

    async def main() -> None:
        async with serving() as (server, url):
            port = int(url.rsplit(":", 1)[1].split("/")[0])
            await server.stop()
            late = HttpServer(server.handle, port=port)
            async with opened(url) as chat:
                waiting = asyncio.create_task(preflight(chat, wait_s=30))
                await asyncio.sleep(0.3)
                assert not waiting.done()
                await late.start()
                assert await waiting
            await late.stop()

    run(main())


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://x/v1", "http://", "http://user:word@host/v1", "http://h/v1?key=1"])
def test_a_wrong_base_url_is_refused_with_the_config(url: str) -> None:
    with pytest.raises(ValueError, match="base URL"):
        EndpointSettings(base_url=url)


def test_blocking_answers_come_to_any_number_of_threads(tmp_path: Path) -> None:
    with command("--latency-ms", "5") as url, BlockingChat(lambda: open_chat(settings(url), tmp_path)) as chat:
        texts: dict[int, str] = {}

        def ask(start: int) -> None:
            for number in range(start, start + 20):
                texts[number] = chat.complete(question(number)).text

        threads = [threading.Thread(target=ask, args=(20 * index,)) for index in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(texts.values())) == 80
        assert chat.submit(question(5)).result(20).text == texts[5]


def test_a_blocking_loop_may_be_left_early_and_a_dead_endpoint_is_raised(tmp_path: Path) -> None:
    with command("--latency-ms", "5") as url, BlockingChat(lambda: open_chat(settings(url), tmp_path)) as chat:
        taken = []
        for number, _ in chat.complete_many((number, question(number)) for number in range(100_000)):
            taken.append(number)
            if len(taken) == 50:
                break
        assert isinstance(chat.complete(question(1)), Reply)
    with BlockingChat(lambda: open_chat(settings(url, give_up_after_s=0.3), None)) as chat, pytest.raises(EndpointDown):
        list(chat.complete_many([(1, question(1))]))


def test_a_blocking_chat_that_cannot_be_made_leaves_no_thread() -> None:
    before = threading.active_count()

    def broken() -> object:
        raise UsageError("no")

    with pytest.raises(UsageError):
        BlockingChat(broken)  # type: ignore[arg-type]
    assert threading.active_count() == before


def test_an_estimate_is_labelled_and_an_unknown_price_is_said() -> None:
    planned = Planned(stage="judge", calls=1000, input_tokens=1000, output_tokens=100)
    known = lines_of([(ModelSettings(model="gpt-4o-mini", endpoints=(EndpointSettings(base_url="http://x/v1"),)), planned)])
    assert "about $0.21" in known[0]
    assert "an estimate" in known[-2]
    unknown = lines_of([(ModelSettings(model="mine", endpoints=(EndpointSettings(base_url="http://x/v1"),)), planned)])
    assert "cost unknown" in unknown[0]
    assert image_tokens(224, 224) == 64


def test_importing_the_client_is_quick_and_brings_no_heavy_library() -> None:
    heavy = ("prefect", "torch", "openai", "pandas", "PIL", "numpy")
    code = (
        f"import sys, millrace.llm.open_chat, millrace.llm.client.batch; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_replies_from_a_file_are_given_by_what_the_question_contains(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    path.write_text('{"contains": "colour", "reply": "red"}\n{"contains": "", "reply": "I don\'t know"}\n')
    chosen = ModelSettings(provider="scripted", options={"replies": str(path)})
    with BlockingChat(lambda: open_chat(chosen, None)) as chat:
        assert chat.complete(Request(messages=(user("which colour?"),))).text == "red"
        assert chat.complete(Request(messages=(user("how many?"),))).text == "I don't know"


def test_an_item_failure_of_a_users_script_is_that_items_failure() -> None:
    chosen = ModelSettings(provider="scripted", options={"script": "tests.llm.test_serve:refuse_all"})
    with BlockingChat(lambda: open_chat(chosen, None)) as chat, pytest.raises(ItemFailed, match="not_today"):
        chat.complete(question(1))


def refuse_all(request: Request) -> Reply:
    raise ItemFailed("not_today")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "/no/such/folder"}, "there is no checkpoint folder /no/such/folder"),
        ({"model": "some/checkpoint", "options": {"device": "cuda:0"}}, "torch sees no GPU here"),
        ({"model": "some/checkpoint", "options": {"devise": "cpu"}}, "did you mean 'device'?"),
    ],
)
def test_the_preflight_of_a_model_in_this_process_says_why_it_could_not_be_loaded(changed: dict[str, Any], said: str) -> None:
    pytest.importorskip("transformers", reason="needs the optional extra: pip install millrace[huggingface]")
    if "GPU" in said and importlib.import_module("torch").cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(UsageError, match=re.escape(said)):
        reach_all([ModelSettings(provider="huggingface", **changed)])


def test_the_estimate_of_several_models_adds_up_and_one_unknown_price_makes_the_sum_unknown() -> None:
    def model(name: str) -> ModelSettings:
        return ModelSettings(model=name, endpoints=(EndpointSettings(base_url="http://x/v1"),))

    priced = Planned(stage="judge", calls=1000, input_tokens=1000, output_tokens=100)
    local = ModelSettings(provider="huggingface", model="a/b")
    known = lines_of([(model("gpt-4o-mini"), priced), (local, priced)])
    assert "at most 2,000 calls, about $0.21" in known[2]
    unknown = lines_of([(model("gpt-4o-mini"), priced), (model("mine"), priced)])
    assert "at most 2,000 calls, cost unknown" in unknown[2]
    assert lines_of([]) == []


def test_one_server_goes_by_several_names_and_answers_by_the_one_it_is_asked_for(tmp_path: Path) -> None:
    with command("--model", "a/judge", "--model", "a/writer") as url:
        for name in ("a/judge", "a/writer"):
            with BlockingChat(lambda name=name: open_chat(settings(url, model=name), tmp_path)) as chat:  # type: ignore[misc]
                assert chat.preflight() == [f"{name} is served at {url.removesuffix('/v1')}"]
                assert chat.complete(question(1)).model == name
        with (
            BlockingChat(lambda: open_chat(settings(url, model="other"), None)) as chat,
            pytest.raises(CallFailed, match="other"),
        ):
            chat.complete(question(1))
