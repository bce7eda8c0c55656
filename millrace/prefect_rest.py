"""Which Prefect server the user has chosen, and a question to it, without importing Prefect.

Ranks and Dask workers' hot paths ask it for keys and rates; importing Prefect for that would cost each of them seconds.
"""

from __future__ import annotations

import base64
import json
import os
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

ANSWER_LIMIT_S = 20.0


def configured_api() -> str | None:
    """The API the user has chosen, by `PREFECT_API_URL` or the active Prefect profile; None when there is none."""
    url = os.environ.get("PREFECT_API_URL")
    if url:
        return url
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    try:
        profiles = tomllib.loads((home / "profiles.toml").read_text())
    except (OSError, tomllib.TOMLDecodeError):
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
    chosen = profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")
    return str(chosen) if chosen else None


def ask_server(url: str, path: str, body: dict[str, Any] | None = None, *, limit_s: float = ANSWER_LIMIT_S) -> Any:
    """What the server's REST API at `url` answers: a GET, or a POST of `body` as JSON.

    Logs in with `PREFECT_API_KEY` or `PREFECT_API_AUTH_STRING` where one is set.

    Raises:
        urllib.error.HTTPError: it answers with an error. OSError: it does not answer. ValueError: what it answers is no JSON.
    """
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **_login()}
    request = urllib.request.Request(f"{url.rstrip('/')}/{path}", data, headers)  # noqa: S310 - the user's own server
    with urllib.request.urlopen(request, timeout=limit_s) as reply:  # noqa: S310 - as above
        return json.loads(reply.read())


def _login() -> dict[str, str]:
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    return {}
