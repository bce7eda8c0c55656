"""`.serve/state.json`: what the keeper has running. It writes the file at every change; `deployments.serve` reads it."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType


class ServeState(msgspec.Struct, kw_only=True):
    """The keeper and its parts."""

    phase: str = "starting"
    """starting, ready or stopped."""
    pid: int
    """The keeper's."""
    folder: str
    api: str
    """URL of the Prefect server's API."""
    ui: str
    scheduler: str
    """Dask's, as `tcp://HOST:PORT`."""
    dashboard: str
    up: list[str] = []
    """What has come up, in order, in words."""
    restarts: dict[str, int] = {}
    """Part → how often it was started again."""
    ending: list[str] | UnsetType = UNSET
    """Which runs are being cancelled at the end, in words."""
    trouble: str | UnsetType = UNSET
    """Why it ended by itself."""


class RunUnderWay(msgspec.Struct, frozen=True):
    """A flow run that a worker has going. Source: Prefect's API (`flow_runs/filter`); what else it says is left out."""

    id: str
    name: str
    state_type: str
