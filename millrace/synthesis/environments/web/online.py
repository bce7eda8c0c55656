"""Web search over a Serper-compatible service: `POST {"q", "num"}` with a key in a header."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import stamina

from millrace.errors import UsageError
from millrace.synthesis.environments import ToolError

ATTEMPTS = 5
KEY_VARIABLE = "SERPER_API_KEY"


def web_search_service(
    url: str, kind: str, top_k: int, workers: int, timeout_s: float, *, transport: httpx.BaseTransport | None = None
) -> tuple[Callable[[list[str]], str], Callable[[], None]]:
    """(search, close) over the service at `url` (`https://host`); `kind` is the last part of the address.

    Raises:
        UsageError: the key's environment variable is not set.
    """
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        raise UsageError(f"the online web environment needs the environment variable {KEY_VARIABLE}")
    client = httpx.Client(timeout=timeout_s, headers={"X-API-KEY": key}, transport=transport)

    def one(query: str) -> str:
        for attempt in stamina.retry_context(on=_passing, attempts=ATTEMPTS, wait_initial=0.5, timeout=timeout_s * 3):
            with attempt:
                answer = client.post(f"{url.rstrip('/')}/{kind}", json={"q": query, "num": top_k})
                answer.raise_for_status()
        lines = [
            f"{number}. {item.get('title', '')} ({item.get('link', '')})\n   {item.get('snippet', '')}"
            for number, item in enumerate(_results(answer, kind)[:top_k], 1)
        ]
        return "\n".join([f"Results for '{query}':", *lines])

    def search(queries: list[str]) -> str:
        try:
            with ThreadPoolExecutor(max(1, min(workers, len(queries)))) as pool:
                return "\n".join(pool.map(one, queries))
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            hint = f"; it refuses the key in {KEY_VARIABLE}" if status in (401, 403) else ""
            raise ToolError(f"the search service answers {status}{hint}") from error
        except httpx.HTTPError as error:
            raise ToolError(f"the search service cannot be asked: {type(error).__name__}") from error

    return search, client.close


def _results(answer: httpx.Response, kind: str) -> list[dict[str, Any]]:
    try:
        found = answer.json().get({"search": "organic"}.get(kind, kind), [])
    except (ValueError, AttributeError) as error:
        raise ToolError("what the search service answers is not a list of results") from error
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ToolError("what the search service answers is not a list of results")
    return found


def _passing(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)
