"""Every plug-in in Millrace's own folders keeps its kind's contract: the checks of `millrace.testing`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from millrace.plugins.loading import load_plugin, plugin_names
from millrace.testing.kinds import PACKAGE
from millrace.testing.plugin_under_test import PluginUnderTest, Promise

ROOT = Path(__file__).parents[2]
PHOTOGRAPHS = ROOT / "configs" / "full" / "photographs"
SCRIPTED = {"provider": "scripted"}
SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("baseline", "endpoint"): {"chat": SCRIPTED},
    ("judge", "endpoint"): {"chats": [SCRIPTED]},
    ("writer", "endpoint"): {"chat": SCRIPTED},
    ("policy", "chat"): {"chat": {"model": SCRIPTED, "judge": False}},
    ("trainer", "command"): {
        "command": [sys.executable, "-c", "import sys; open(sys.argv[1], 'w').write('x')", "{result}"],
        "model": {"name": "guess"},
    },
    ("trainer", "given"): {"models": {"targeted": [{"name": "guess"}]}},
    ("annotation_kind", "boxes"): {"lake": str(PHOTOGRAPHS), "claims": "objects"},
}
ELSEWHERE = {
    ("trainer", "embedded"): "trains for minutes: tests/improve/test_embedded.py",
    ("baseline", "embedded"): "learns for minutes: tests/digits/test_embedded_baseline.py checks a trained one",
    ("trainer", "huggingface"): "wants a checkpoint: tests/improve/test_chat_training.py",
    ("provider", "gemini"): "wants a server of its own: tests/llm/test_providers.py",
    ("provider", "huggingface"): "wants a checkpoint: tests/llm/test_providers.py",
}
if find_spec("duckdb") is None:
    ELSEWHERE["environment", "sql"] = "wants the extra sql"
OWN = {"environment": ["configs.synthesis.calendar_world"], "baseline": ["tests.probing.coin_baseline"]}


def under_test() -> Iterator[PluginUnderTest]:
    for kind in plugin_names(PACKAGE):
        checks = load_plugin(PACKAGE, kind, "kind of plug-in")
        for name in [*plugin_names(checks.FOLDER), *OWN.get(kind, [])]:
            if (kind, name) not in ELSEWHERE:
                yield PluginUnderTest(kind, name, SETTINGS.get((kind, name), {}))


ALL = list(under_test())


class Opened:
    """Plug-ins by kind and name: each is opened once, for all its promises."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._held: dict[tuple[str, str], Any] = {}

    def of(self, plugin: PluginUnderTest) -> Any:
        name = (plugin.kind, plugin.name)
        if name not in self._held:
            self._held[name] = self._stack.enter_context(plugin.opened())
        return self._held[name]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    with contextlib.ExitStack() as stack:
        yield Opened(stack)


@pytest.mark.parametrize(
    ("plugin", "promise"),
    [
        pytest.param(plugin, promise, id=f"{plugin.kind}-{plugin.name}-{promise.__name__}")
        for plugin in ALL
        for promise in plugin.promises
    ],
)
def test_a_shipped_plug_in_keeps_its_promise(plugin: PluginUnderTest, promise: Promise, opened: Opened) -> None:
    promise(opened.of(plugin))
