"""`verify PATH --set seal=true` as the options that every flow has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import get_args

from millrace.checkpoint.settings import Action, CheckpointConfig


def flow_arguments(given: Sequence[str]) -> list[str]:
    """Action and path become settings, settings of `checkpoint` need no prefix, and each run gets a folder of its own."""
    rest = list(given)
    settings: dict[str, str] = {}
    if rest and rest[0] in get_args(Action):
        settings["action"] = rest.pop(0)
        if rest and not rest[0].startswith("-"):
            settings["path"] = rest.pop(0)
    for position, one in enumerate(rest):
        inside = one.split("=")[0].split(".")[0] in CheckpointConfig.model_fields
        if position and rest[position - 1] == "--set" and inside:
            rest[position] = f"checkpoint.{one}"
    for key, value in settings.items():
        rest += ["--set", f"checkpoint.{key}={json.dumps(value)}"]
    if settings and not any(one == "--run-dir" or one.startswith("--run-dir=") for one in rest):
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        rest += ["--run-dir", f"runs/checkpoint/{settings['action']}-{stamp}"]
    return rest
