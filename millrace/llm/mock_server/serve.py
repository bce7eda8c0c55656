"""`python -m millrace.llm.mock_server`: any chat model behind the APIs of several makers, with adjustable latency and faults.

To rehearse a run without paying, and to test without mocks:

    python -m millrace.llm.mock_server --port 8000 --latency-ms 200 --fault 500=0.05 --fault 429=0.05
    python -m millrace.llm.mock_server --provider my_package.my_module:make_model     # a function that returns a ChatModel

It speaks OpenAI's chat completions, responses, files and batches, Azure's paths to the first, and Anthropic's messages and their
batches (providers `openai_compatible`, `openai_responses`, `azure_openai`, `anthropic`). `GET /v1/models` lists the model, `GET
/stats` says what was asked and answered (and what was answered twice).
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from millrace.config import parse_config
from millrace.errors import ItemFailed, MillraceError, UsageError
from millrace.llm import ChatModel, Reply
from millrace.llm.mock_server.apis import Api, api_at
from millrace.llm.mock_server.batch_keeping import BatchKeeping
from millrace.llm.mock_server.batches import FileBatches
from millrace.llm.mock_server.faults import BATCH_FAULTS, FAULTS, FaultPlan, Misfortune
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from millrace.llm.mock_server.message_batches import MessageBatches
from millrace.llm.providers.scripted import ScriptedChat, default_reply
from millrace.llm.trial import is_trial


class LocalServer:
    """A server around a chat model, which may go by several names."""

    def __init__(
        self,
        model: ChatModel,
        plan: FaultPlan,
        *,
        names: Sequence[str] = (),
        key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.model = model
        self.names = tuple(names) or (model.name,)
        self.misfortune = Misfortune(plan)
        self.http = HttpServer(self.handle, host=host, port=port)
        self.counts: Counter[str] = Counter()
        self.trials = 0
        """Questions of preflights, which are in no other count."""
        self.answered: Counter[bytes] = Counter()
        self.arrivals: deque[float] = deque(maxlen=200_000)
        """When answered requests came in, on the monotonic clock."""
        self.in_flight = 0
        self.most_in_flight = 0
        self._key = key
        self.batches = BatchKeeping(plan, self._of_a_batch)
        self.files = FileBatches(self.batches)
        self.of_batches: list[Callable[[Incoming], Awaitable[Outgoing | None]]] = [
            self.files.handle,
            MessageBatches(self.batches).handle,
        ]

    async def start(self) -> str:
        """Listen; returns the base URL for clients, `http://HOST:PORT/v1`."""
        return await self.http.start() + "/v1"

    async def stop(self) -> None:
        """Stop listening."""
        await self.http.stop()
        await self.model.close()

    def statistics(self) -> dict[str, Any]:
        """What was asked and answered so far."""
        return {
            "requests": self.counts["requests"],
            "answered": sum(self.answered.values()),
            "distinct": len(self.answered),
            "trials": self.trials,
            "answered_twice": sum(count - 1 for count in self.answered.values()),
            "batches": self.batches.made,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
            "given": {name: count for name, count in sorted(self.counts.items()) if name != "requests"},
        }

    async def handle(self, incoming: Incoming) -> Outgoing:
        """One HTTP request."""
        path = incoming.path.partition("?")[0].rstrip("/")
        if path in {"/stats", "/v1/stats"}:
            return Outgoing(200, orjson.dumps(self.statistics()))
        if path == "/health":
            return Outgoing(200, b"{}")
        shown = (incoming.headers.get(name) for name in ("x-api-key", "api-key"))
        if self._key is not None and self._key not in {*shown, incoming.headers.get("authorization", "").removeprefix("Bearer ")}:
            return _error(401, "Incorrect API key provided", "invalid_api_key")
        if path in {"/v1/models", "/openai/v1/models", "/openai/models"}:
            return Outgoing(
                200, orjson.dumps({"object": "list", "data": [{"id": name, "object": "model"} for name in self.names]})
            )
        for handle in self.of_batches:
            if (of_batches := await handle(incoming)) is not None:
                return of_batches
        api = api_at(path)
        if api is None:
            return _error(404, f"there is no {path} here; chat requests go to /v1/chat/completions", "not_found")
        if incoming.method != "POST":
            return _error(405, "chat requests are POSTed", "method")
        return await self._chat(api, incoming.body)

    async def _chat(self, api: Api, body: bytes) -> Outgoing:
        if is_trial(body):  # a preflight's question is no part of a run: it meets no fault and needs no model
            self.trials += 1
            return self._named(api, body, default_reply(api.request_of(body)))
        self.counts["requests"] += 1
        arrived = time.monotonic()
        if self.misfortune.refuses(self.in_flight):
            self.counts["429"] += 1
            return self.misfortune.overload()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            digest, fault = self.misfortune.fault_for(body)
            if fault is not None:
                self.counts[fault] += 1
            answer = await self._answer(api, body, digest, fault)
        finally:
            self.in_flight -= 1
        if answer.status == 200 and (fault is None or fault in {"slow", "huge", "refusal"}):
            self.answered[digest] += 1
            self.arrivals.append(arrived)
        return answer

    async def _of_a_batch(self, path: str, body: bytes) -> Outgoing:
        """The answer to one request of a batch, which counts as answered."""
        api = api_at(path)
        assert api is not None
        digest, _ = self.misfortune.fault_for(body)
        self.counts["requests"] += 1
        answer = await self._answer(api, body, digest, None)
        if answer.status == 200:
            self.answered[digest] += 1
        return answer

    async def _answer(self, api: Api, body: bytes, digest: bytes, fault: str | None) -> Outgoing:
        if fault == "cut":
            return self._named(api, body, Reply(text="", finish="length"))
        if fault in {"500", "503", "429", "reset", "redirect", "wrong_json", "empty", "html", "filter", "error"}:
            return self.misfortune.instead(fault, b"")
        wait_s = self.misfortune.latency_s(digest)
        if fault == "slow":
            wait_s += self.misfortune.plan.slow_s
        if fault == "hang":
            await asyncio.sleep(86_400)
        if wait_s:
            await asyncio.sleep(wait_s)
        try:
            request = api.request_of(body)
        except ValueError as error:
            return _error(400, str(error), "invalid_request_error")
        try:
            reply = await self.model.complete(request)
        except ItemFailed as error:
            return _error(500, str(error), "model_error")
        if fault == "refusal":
            reply = Reply(text="I can't help with that.", finish="refusal")
        if fault == "huge":
            reply = Reply(text="x" * 10_000_000)
        answer = self._named(api, body, reply)
        if answer.status == 200 and fault in {"half", "malformed"}:
            return self.misfortune.instead(fault, answer.body)
        return answer

    def _named(self, api: Api, body: bytes, reply: Reply) -> Outgoing:
        """The reply under the name that it was asked for by, if the model goes by it."""
        name = self.names[0] if len(self.names) == 1 else orjson.loads(body).get("model")
        if name not in self.names:
            return _error(404, f"there is no model '{name}' here", "model_not_found")
        return Outgoing(200, api.body_of(reply, name, self.counts["requests"]))


def _error(status: int, message: str, kind: str) -> Outgoing:
    return Outgoing(status, orjson.dumps({"error": {"message": message, "type": kind, "code": kind}}))


def model_named(name: str) -> ChatModel:
    """`scripted`, or the chat model that a function of yours (`package.module:function`) returns.

    Raises:
        UsageError: there is no such function.
    """
    if name == "scripted":
        return ScriptedChat(default_reply)
    module, sign, function = name.partition(":")
    try:
        make = getattr(importlib.import_module(module), function) if sign else None
    except (ImportError, AttributeError) as error:
        raise UsageError(f"the model '{name}' cannot be imported ({error})") from error
    if not callable(make):
        raise UsageError(f"--provider takes 'scripted' or package.module:function, not '{name}'")
    made: ChatModel = make()
    return made


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m millrace.llm.mock_server", description=(__doc__ or "").split("\n\n")[0])
    made.add_argument("--provider", default="scripted", help="'scripted', or package.module:function that returns a ChatModel")
    made.add_argument("--model", action="append", default=[], help="the name it goes by; may be repeated (default: its own)")
    made.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: this machine only)")
    made.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    made.add_argument("--latency-ms", type=float, default=0.0, help="how long an answer takes")
    made.add_argument("--jitter", type=float, default=0.0, help="sigma of the log-normal spread of the latency")
    faults = ", ".join(f"{name} ({text})" for name, text in FAULTS.items())
    made.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=f"may be repeated; {faults}")
    made.add_argument("--fault-tries", type=int, default=1, help="how often a request meets its fault before it is answered")
    made.add_argument("--retry-after-s", type=float, default=1.0, help="what a 429 asks to wait")
    made.add_argument("--slow-s", type=float, default=3.0, help="how much longer a slow answer takes")
    batch_faults = ", ".join(f"{name} ({text})" for name, text in BATCH_FAULTS.items())
    made.add_argument("--batch-s", type=float, default=0.0, help="how long a batch is under way")
    made.add_argument("--batch-fault", action="append", default=[], metavar="NAME=TIMES", help=f"may be repeated; {batch_faults}")
    made.add_argument("--max-in-flight", type=int, default=None, help="more at once are answered by 429")
    made.add_argument("--requests-per-second", type=float, default=None, help="more are answered by 429")
    made.add_argument("--seed", type=int, default=0, help="decides which requests meet which fault")
    made.add_argument("--api-key-env", default=None, metavar="VARIABLE", help="ask for the key in this environment variable")
    return made


def plan_of(options: argparse.Namespace) -> FaultPlan:
    """The fault plan that the command line asks for."""
    shares: dict[str, str | float] = {}
    for text in options.fault:
        name, sign, share = text.partition("=")
        shares[name] = share if sign else 1.0
    batch_faults = {name: times or 1 for name, _, times in (text.partition("=") for text in options.batch_fault)}
    given = {"faults": shares, "batch_faults": batch_faults}
    values = {name: getattr(options, name) for name in FaultPlan.model_fields if name not in given}
    return parse_config(FaultPlan, {**values, **given}, where="the command line")


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM."""
    key = os.environ.get(options.api_key_env) if options.api_key_env else None
    if options.api_key_env and not key:
        raise UsageError(f"the environment variable {options.api_key_env} is not set")
    model = model_named(options.provider)
    server = LocalServer(model, plan_of(options), names=options.model, key=key, host=options.host, port=options.port)
    try:
        url = await server.start()
    except OSError as error:
        raise UsageError(
            f"cannot listen on {options.host}:{options.port} ({error.strerror}); --port 0 takes a free port"
        ) from error
    print(f"{', '.join(server.names)} on {url}", flush=True)  # noqa: T201 - the program that started it reads the address here
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop()
    print(orjson.dumps(server.statistics()).decode(), flush=True)  # noqa: T201 - as above


def main(argv: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit code."""
    try:
        asyncio.run(serve(parser().parse_args(argv)))
    except MillraceError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - a user's mistake
        return error.exit_code
    return 0
