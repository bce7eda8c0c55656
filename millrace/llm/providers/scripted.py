"""A chat model without a model: answers by a script, the same each time, for rehearsals, dry runs and tests.

Without a script it answers a request with a schema by a value that satisfies it, a request with tools it must use by a call, and
anything else by a sentence made from the question's hash. `options.script` names a function of yours (`package.module:function`,
from `Request` to `Reply` or `str`), `options.replies` a JSONL file of `{"contains": "text in the question", "reply": "…"}` lines.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from millrace.config import Settings, parse_config
from millrace.errors import UsageError
from millrace.llm import Reply, Request, ToolCall, Usage
from millrace.llm.example_values import example_of
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.transport.http_chat import Resources
from millrace.run.ids import content_id, random_for
from millrace.run.journal import read_jsonl

Script = Callable[[Request], Reply | str]


class Options(Settings):
    """What the script is (`options:` in the model's config)."""

    script: str | None = None
    """`package.module:function`, from a request to a reply or a text."""
    replies: Path | None = None
    """JSONL lines `{"contains", "reply"}`; the first line whose text stands in the last message wins."""
    latency_s: float = 0.0
    """How long an answer takes."""


def open_model(settings: ModelSettings, endpoint: EndpointSettings | None, shared: Resources | None) -> ScriptedChat:
    """The scripted model; endpoint and shared resources are not used."""
    options = parse_config(Options, settings.options, where="options of provider scripted")
    script: Script = default_reply
    if options.script is not None:
        script = _named(options.script)
    elif options.replies is not None:
        script = _from_file(options.replies)
    return ScriptedChat(script, name=settings.model or "scripted", latency_s=options.latency_s)


class ScriptedChat:
    """Answers with what `script` returns."""

    def __init__(self, script: Script, *, name: str = "scripted", latency_s: float = 0.0) -> None:
        self._script = script
        self._name = name
        self._latency_s = latency_s
        self.pause_s: float | None = None
        self.place = "this process"

    @property
    def name(self) -> str:
        """The name given to it."""
        return self._name

    async def complete(self, request: Request) -> Reply:
        """What the script says; its exceptions pass through."""
        if self._latency_s:
            await asyncio.sleep(self._latency_s)
        said = self._script(request)
        reply = Reply(text=said) if isinstance(said, str) else said
        if reply.usage == Usage():
            usage = Usage(input_tokens=count_tokens(request), output_tokens=max(1, len(reply.text) // 4))
            reply = msgspec.structs.replace(reply, usage=usage)
        return msgspec.structs.replace(reply, model=reply.model or self._name)

    async def close(self) -> None:
        """Nothing to close."""


def default_reply(request: Request) -> Reply:
    """A valid answer made from the request's hash."""
    name = content_id("q", [[message.role, message.text] for message in request.messages], request.sample)
    if request.tools and request.tool_choice == "required":
        tool = request.tools[0]
        arguments = example_of(tool.parameters, random_for(0, name))
        return Reply(text="", finish="tool_calls", tool_calls=(ToolCall(id="call_0", name=tool.name, arguments=arguments),))
    if request.schema is not None:
        return Reply(text=msgspec.json.encode(example_of(request.schema, random_for(0, name))).decode())
    return Reply(text=f"scripted answer {name}")


def count_tokens(request: Request) -> int:
    """A rough count, four characters each and 256 for an image: an estimate."""
    return sum(len(message.text) // 4 + 4 + 256 * len(message.images) for message in request.messages)


def _named(dotted: str) -> Script:
    module, sign, function = dotted.partition(":")
    try:
        found: Any = getattr(importlib.import_module(module), function) if sign else None
    except (ImportError, AttributeError) as error:
        raise UsageError(f"the script '{dotted}' cannot be imported ({error})") from error
    if not callable(found):
        raise UsageError(f"a script is named package.module:function, not '{dotted}'")
    return found  # type: ignore[no-any-return]


def _from_file(path: Path) -> Script:
    if not path.is_file():
        raise UsageError(f"there is no file of replies {path}")
    lines = [(str(line.get("contains", "")), str(line.get("reply", ""))) for line in read_jsonl(path)]

    def script(request: Request) -> Reply | str:
        asked = request.messages[-1].text if request.messages else ""
        return next((reply for contains, reply in lines if contains in asked), default_reply(request))

    return script
