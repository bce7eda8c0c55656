"""The deployments: every flow is there, by a module path that loads, with a form that explains itself."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import Flow

ROOT = Path(__file__).parent.parent
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]


def test_every_flow_has_a_deployment() -> None:
    flows = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert {entry["name"] for entry in DEPLOYMENTS} == flows


@pytest.mark.parametrize("entry", DEPLOYMENTS, ids=lambda entry: str(entry["name"]))
def test_an_entrypoint_is_a_flow_with_a_default_and_a_help_text_for_every_setting(entry: dict[str, Any]) -> None:
    module, _, name = entry["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert isinstance(flow, Flow)
    schema = flow.parameters.model_dump()
    assert not schema["required"], "quick run must work without filling anything in"
    silent = [
        f"{kind}.{key}"
        for kind, part in schema["definitions"].items()
        for key, field in part.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert not silent
