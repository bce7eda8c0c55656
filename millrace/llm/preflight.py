"""Before any work: does each model answer a question as the run will ask it? A wrong setting is one sentence at the start.

A server's list of models only helps to say what is wrong: many that answer have none, an empty one, or one with other names.
"""

from __future__ import annotations

import asyncio
import difflib
import fnmatch
import re
from collections.abc import Iterable

from millrace.errors import ItemFailed, UsageError, did_you_mean
from millrace.llm import Reply, Request, user
from millrace.llm.client.durable_chat import DurableChat
from millrace.llm.client.structured import parsed
from millrace.llm.failures import AttemptFailed, CallFailed, CutOff
from millrace.llm.open_chat import PROVIDERS, open_chat
from millrace.llm.settings import ModelSettings
from millrace.llm.throttle.endpoint_pool import Endpoint
from millrace.llm.transport.http_chat import HttpChat
from millrace.llm.trial import Trial
from millrace.plugins.loading import load_plugin

PASSING = frozenset({"server", "malformed", "timeout"})
"""Failures of a server that works: tried again a few times."""

TRIES = 3

_PICTURES = re.compile(r"image|vision|multi-?modal|picture|modalit", re.IGNORECASE)


async def preflight(chat: DurableChat, *, wait_s: float = 0.0, trial: Trial | None = None) -> list[str]:
    """Ask every endpoint one question.

    Args:
        chat: the model.
        wait_s: how long a server that is still starting is waited for.
        trial: the question of the role that it has; None asks for one word, and only where the server does not list the model.

    Returns:
        What was found, a line per endpoint.

    Raises:
        UsageError: the URL, the key or the model's name is wrong, or it cannot be asked as the run will; the message says which.
    """
    found = await asyncio.gather(*(_one(chat, endpoint, wait_s, trial) for endpoint in chat.pool.endpoints))
    return list(found)


def reach_all(models: Iterable[ModelSettings | Trial], *, wait_s: float = 0.0) -> list[str]:
    """Preflight every model of a config in each of its roles, each once. A model in this process is not loaded for it: its
    provider's `check` says whether it could be.

    Raises:
        UsageError: as `preflight`.
    """
    lines: list[str] = []
    asked: set[tuple[str, object]] = set()
    for one in models:
        trial = one if isinstance(one, Trial) else Trial(one, "the run", pictures=False)
        settings = trial.settings
        name = (settings.model_dump_json(), (trial.temperature, trial.max_tokens, trial.seed, trial.pictures))
        if name in asked:
            continue
        asked.add(name)
        if settings.endpoints:
            lines += asyncio.run(_reached(settings, wait_s, trial))
            continue
        load_plugin(PROVIDERS, settings.provider, "provider").check(settings)
        lines.append(f"{settings.model or settings.provider}: runs in this process")
    return list(dict.fromkeys(lines))


async def _reached(settings: ModelSettings, wait_s: float, trial: Trial | None) -> list[str]:
    chat = open_chat(settings, None)
    try:
        return await preflight(chat, wait_s=wait_s, trial=trial)
    finally:
        await chat.close()


async def _one(chat: DurableChat, endpoint: Endpoint, wait_s: float, trial: Trial | None) -> str:
    model = endpoint.model
    if not isinstance(model, HttpChat):
        return f"{chat.name}: runs in this process"
    request = Request(messages=(user("Answer with the word yes."),), max_tokens=16) if trial is None else trial.request()
    deadline = asyncio.get_running_loop().time() + wait_s
    tries = 0
    while True:
        names = await _names(model)
        if trial is None and _is_listed(model.name, names):
            return f"{model.name} is served at {model.place}"
        try:
            reply = await model.complete(request)
        except CallFailed as failure:
            raise UsageError(f"{model.name} at {model.place} cannot be asked: {failure.detail}") from None
        except AttemptFailed as error:
            tries += 1
            waits = not error.fatal and error.kind in {"connection", "timeout", "overload", "server"}
            if error.kind == "overload" and asyncio.get_running_loop().time() >= deadline:
                return f"{model.name} is busy at {model.place} ({error.detail}); the run waits for it"
            passing = error.kind in PASSING and tries < TRIES and error.status is not None
            if not passing and (not waits or asyncio.get_running_loop().time() >= deadline):
                raise UsageError(_sentence(model, error, names, trial)) from None
            await asyncio.sleep(min(2.0, max(0.1, wait_s / 20)))
            continue
        _check_name(model, reply, names)
        served = "is served" if names and _is_listed(model.name, names) else "answers"
        return f"{model.name} {served} at {model.place}{_note(reply, request, model.settings.longest_answer)}"


async def _names(model: HttpChat) -> list[str]:
    """The models that the server lists; empty where it has no list or does not show it."""
    try:
        return await model.models() or []
    except AttemptFailed:
        return []


def _is_listed(name: str, names: list[str]) -> bool:
    plain = name.removeprefix("models/")
    return any(fnmatch.fnmatchcase(plain, listed.removeprefix("models/")) or name == listed for listed in names)


def _check_name(model: HttpChat, reply: Reply, names: list[str]) -> None:
    """Some servers answer to any name with the one model they have: a slip of the pen would be another model under test."""
    asked, said = model.name, reply.model
    if _is_listed(asked, names) or said not in names or _is_version(asked, said) or _is_version(said, asked):
        return
    if difflib.SequenceMatcher(None, asked, said).ratio() > 0.8:
        raise UsageError(f"{model.place} has no model '{asked}'{did_you_mean(asked, names[:50])} ('{said}' answered)")


def _is_version(name: str, longer: str) -> bool:
    """Whether `longer` is `name` with a date, a tag or an owner."""
    return re.search(rf"(^|[/:@._-]){re.escape(name)}($|[/:@._-])", longer) is not None


def _note(reply: Reply, request: Request, longest: int) -> str:
    if reply.filtered:
        return f"; a filter refused the question ({reply.text[:100]})"
    if request.schema is None:
        return ""
    try:
        parsed(reply, request.schema)
    except CutOff:
        return f"; it thinks past max_tokens={request.max_tokens}: its answers get up to longest_answer={longest} and cost more"
    except ItemFailed:
        return "; it does not go by JSON schemas and is asked in words where an answer does not satisfy its own"
    return ""


def _sentence(model: HttpChat, error: AttemptFailed, names: list[str], trial: Trial | None) -> str:
    base = model.wire.base_url
    if error.fatal:
        return error.detail
    if error.kind == "connection":
        return f"no server answers at {base} ({error.detail}); is the server running, and is base_url right?"
    if error.kind == "timeout":
        return f"{base} takes a connection but does not answer ({error.detail})"
    if error.kind == "credentials":
        which = (
            "the key was refused" if model.key is not None else "it wants a key: name the variable that holds it in api_key_env"
        )
        return f"{base}: {which} ({error.detail})"
    if names and not _is_listed(model.name, names) and error.status in {400, 404, 422}:
        return f"{model.place} has no model '{model.name}'{did_you_mean(model.name, names[:50])} ({error.detail})"
    if error.kind == "malformed":
        return f"{base} is not the address of a chat API ({error.detail}); OpenAI-compatible ones usually end in /v1"
    if error.status == 404:
        return f"{base} does not know the model '{model.name}' or the path ({error.detail})"
    if trial is not None and trial.pictures and _PICTURES.search(error.detail):
        return f"{model.name} at {model.place} takes no pictures, and {trial.role} shows it some ({error.detail})"
    return f"{base} refuses requests ({error.detail})"
