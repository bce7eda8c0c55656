"""Before any work: does somebody answer, with this key, and do they know this model? A wrong setting is one sentence at
the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from millrace.errors import UsageError, did_you_mean
from millrace.llm import Request, user
from millrace.llm.client.durable_chat import DurableChat
from millrace.llm.failures import AttemptFailed
from millrace.llm.open_chat import PROVIDERS, open_chat
from millrace.llm.settings import ModelSettings
from millrace.llm.throttle.endpoint_pool import Endpoint
from millrace.llm.transport.http_chat import HttpChat
from millrace.plugins.loading import load_plugin


async def preflight(chat: DurableChat, *, wait_s: float = 0.0) -> list[str]:
    """Ask every endpoint for its list of models (free), or for one short answer where it has no list.

    Args:
        chat: the model.
        wait_s: how long a server that is still starting is waited for.

    Returns:
        What was found, a line per endpoint.

    Raises:
        UsageError: the URL, the key or the model's name is wrong; the message says which.
    """
    found = await asyncio.gather(*(_one(chat, endpoint, wait_s) for endpoint in chat.pool.endpoints))
    return list(found)


def reach_all(settings: Iterable[ModelSettings], *, wait_s: float = 0.0) -> list[str]:
    """Preflight every model of a config, each once. A model in this process is not loaded for it: its provider's `check` says
    whether it could be.

    Raises:
        UsageError: as `preflight`.
    """
    lines: list[str] = []
    for text in dict.fromkeys(one.model_dump_json() for one in settings):
        one = ModelSettings.model_validate_json(text)
        if one.endpoints:
            lines += asyncio.run(_reached(one, wait_s))
            continue
        module = load_plugin(PROVIDERS, one.provider, "provider")
        if hasattr(module, "check"):
            module.check(one)
        lines.append(f"{one.model or one.provider}: runs in this process")
    return lines


async def _reached(settings: ModelSettings, wait_s: float) -> list[str]:
    chat = open_chat(settings, None)
    try:
        return await preflight(chat, wait_s=wait_s)
    finally:
        await chat.close()


async def _one(chat: DurableChat, endpoint: Endpoint, wait_s: float) -> str:
    model = endpoint.model
    if not isinstance(model, HttpChat):
        return f"{chat.name}: runs in this process"
    deadline = asyncio.get_running_loop().time() + wait_s
    while True:
        try:
            return await _asked(model)
        except AttemptFailed as error:
            waits = not error.fatal and error.kind in {"connection", "timeout", "overload", "server"}
            if not waits or asyncio.get_running_loop().time() >= deadline:
                raise UsageError(_sentence(model, error)) from None
            await asyncio.sleep(min(2.0, max(0.1, wait_s / 20)))


async def _asked(model: HttpChat) -> str:
    names = await model.models()
    wanted = model.name.removeprefix("models/")
    if names is None:  # no list: the only way to know is to ask
        await model.complete(Request(messages=(user("Answer with the word yes."),), max_tokens=16))
        return f"{model.name} answers at {model.place}"
    if wanted not in names:
        raise UsageError(f"{model.place} has no model '{model.name}'{did_you_mean(model.name, names[:50])}")
    return f"{model.name} is served at {model.place}"


def _sentence(model: HttpChat, error: AttemptFailed) -> str:
    base = model.wire.base_url
    if error.fatal:
        return error.detail
    if error.kind == "connection":
        return f"nobody answers at {base} ({error.detail}); is the server running, and is base_url right?"
    if error.kind == "timeout":
        return f"{base} takes a connection but does not answer ({error.detail})"
    if error.kind == "credentials":
        which = (
            "the key was refused" if model.key is not None else "it wants a key: name the variable that holds it in api_key_env"
        )
        return f"{base}: {which} ({error.detail})"
    if error.kind == "malformed":
        return f"{base} is not the address of a chat API ({error.detail}); OpenAI-compatible ones usually end in /v1"
    if error.status == 404:
        return f"{base} does not know the model '{model.name}' or the path ({error.detail})"
    return f"{base} refuses requests ({error.detail})"
