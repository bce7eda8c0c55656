"""Every shipped config loads, and is listed."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from millrace.cli import flow_package
from millrace.config import load_config

CONFIGS = Path(__file__).parent.parent / "configs"
SHIPPED = sorted(path for path in CONFIGS.glob("*/*.yaml"))
FLOWS = flow_package()[1]


def schema_checker(flow: str) -> jsonschema.Draft202012Validator:
    """What an editor does with the shipped schema of a flow's settings."""
    schema: dict[str, Any] = json.loads((CONFIGS / "schemas" / f"{flow}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema)


def config_model(flow: str) -> type[BaseModel]:
    """The class that `flows.FLOW` gives to the command line: `FlowFlowConfig`, or `FlowConfig` where a domain has one section."""
    module = importlib.import_module(f"flows.{flow}")
    found = getattr(module, f"{flow.capitalize()}FlowConfig", None) or getattr(module, f"{flow.capitalize()}Config")
    model: type[BaseModel] = found
    return model


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_shipped_config_loads(path: Path) -> None:
    load_config(config_model(path.parent.name), path)


def test_every_shipped_config_is_listed_in_one_line() -> None:
    listed = (CONFIGS / "README.md").read_text()
    for path in SHIPPED:
        name = str(path.relative_to(CONFIGS))
        assert sum(name in line for line in listed.splitlines()) == 1, name


def test_the_default_config_is_the_default() -> None:
    model = config_model("full")
    assert load_config(model, CONFIGS / "full" / "default.yaml") == model()


@pytest.mark.parametrize("flow", FLOWS)
def test_a_shipped_schema_is_what_the_command_prints(flow: str) -> None:
    """In a process of its own: a flow that is imported already has its fields' texts from elsewhere."""
    command = [sys.executable, "-m", "millrace", "schema", flow]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    shipped = (CONFIGS / "schemas" / f"{flow}.json").read_text(encoding="utf-8")
    assert shipped == printed, "the settings have changed: make schemas"


def test_there_is_a_schema_for_each_flow_and_no_other() -> None:
    assert sorted(path.name for path in (CONFIGS / "schemas").iterdir()) == [f"{flow}.json" for flow in FLOWS]
    for flow in FLOWS:
        jsonschema.Draft202012Validator.check_schema(schema_checker(flow).schema)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_shipped_config_leads_an_editor_to_its_schema_and_passes_it(path: Path) -> None:
    flow = path.parent.name
    text = path.read_text(encoding="utf-8")
    assert text.split("\n")[0] == f"# yaml-language-server: $schema=../schemas/{flow}.json"
    assert [error.message for error in schema_checker(flow).iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    ("flow", "settings", "message"),
    [
        ("full", {"probing": {"sample_sise": 3}}, "'sample_sise' was unexpected"),
        ("full", {"probing": {"lake": {"images": "many"}}}, "'many' is not of type 'integer'"),
        ("filtering", {"filtering": {"quota": -1}}, "-1 is not valid under any of the given schemas"),
        ("synthesis", {"max_retries": 0}, "0 is less than or equal to the minimum of 0"),
        ("synthesis", {"max_workers": 0}, "0 is not valid under any of the given schemas"),  # a number from 1, or `auto`
        ("training", {"mode": "paralel"}, "'paralel' is not one of ['default', 'mutation', 'parallel']"),
    ],
)
def test_an_editor_is_told_of_a_wrong_key_type_limit_and_choice(flow: str, settings: dict[str, Any], message: str) -> None:
    assert message in " ".join(error.message for error in schema_checker(flow).iter_errors(settings))
