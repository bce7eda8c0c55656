"""Which Prefect server the user has chosen; found out without importing Prefect."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path


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
