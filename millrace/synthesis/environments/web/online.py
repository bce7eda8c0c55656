"""Web search over a Serper-compatible service: `POST {"q", "num"}` with a key in a header.

One limit of time holds for a query with all its repetitions, one limit of bytes for each answer, as they do for pages.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import stamina

from millrace.errors import UsageError
from millrace.synthesis.environments.web.exchange import Answer, ask, open_client, within
from millrace.synthesis.environments.web.faults import HttpRefused, ServerFault, of_status

ATTEMPTS = 5
SERVICE = "the search service"
KEY_VARIABLE = "SERPER_API_KEY"
MAX_ANSWER_BYTES = 2_000_000
"""Of a list of results; ten results with long snippets are 20 kB."""


def web_search_service(
    url: str, kind: str, top_k: int, workers: int, timeout_s: float, *, transport: httpx.BaseTransport | None = None
) -> tuple[Callable[[list[str]], str], Callable[[], None]]:
    """(search, close) over the service at `url` (`https://host`); `kind` is the last part of the address.

    Args:
        url: of the service.
        kind: what is searched.
        top_k: results for a query.
        workers: queries asked at the same time.
        timeout_s: for a query with all its repetitions.
        transport: where requests go; None is the network.

    Raises:
        UsageError: the key's environment variable is not set.
    """
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise UsageError(f"the online web environment needs the environment variable {KEY_VARIABLE}")
    headers = {"X-API-KEY": key, "Content-Type": "application/json"}

    address, wait_s = f"{url.rstrip('/')}/{kind}", min(0.5, timeout_s / 10)

    async def asked(query: str, troubles: list[ServerFault]) -> Answer:
        body = json.dumps({"q": query, "num": top_k}).encode()
        async with open_client(timeout_s, transport) as client:
            again = stamina.retry_context(
                on=ServerFault, attempts=ATTEMPTS, wait_initial=wait_s, wait_jitter=wait_s, timeout=None
            )
            async for attempt in again:
                with attempt:
                    try:
                        answer = await ask(client, "POST", address, MAX_ANSWER_BYTES, name=SERVICE, headers=headers, content=body)
                        if answer.status != httpx.codes.OK:
                            raise of_status(SERVICE, answer.status)
                    except ServerFault as error:
                        troubles.append(error)
                        raise
        return answer

    def one(query: str) -> str:
        troubles: list[ServerFault] = []
        try:
            answer = within(
                timeout_s, f"{SERVICE} gave no answer (Timeout after {timeout_s:g} s)", lambda: asked(query, troubles)
            )
        except HttpRefused as error:
            hint = f"; it refuses the key in {KEY_VARIABLE}" if error.status in (401, 403) else ""
            raise HttpRefused(f"{error}{hint}", error.status) from error
        except ServerFault as error:
            raise (troubles[-1] if troubles else error) from error
        lines = [
            f"{number}. {item.get('title', '')} ({item.get('link', '')})\n   {item.get('snippet', '')}"
            for number, item in enumerate(_results(answer.body, kind)[:top_k], 1)
        ]
        return "\n".join([f"Results for '{query}':", *lines])

    def search(queries: list[str]) -> str:
        with ThreadPoolExecutor(max(1, min(workers, len(queries)))) as pool:
            return "\n".join(pool.map(one, queries))

    return search, lambda: None


def _results(body: bytes, kind: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(body).get({"search": "organic"}.get(kind, kind), [])
    except (ValueError, AttributeError, RecursionError) as error:
        raise ServerFault("what the search service answers is not a list of results") from error
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ServerFault("what the search service answers is not a list of results")
    return found
