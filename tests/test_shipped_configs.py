"""Every shipped config loads, and is listed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from pydantic import BaseModel

from millrace.config import load_config

CONFIGS = Path(__file__).parent.parent / "configs"
SHIPPED = sorted(path for path in CONFIGS.glob("*/*.yaml"))


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
