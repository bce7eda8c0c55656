"""Opens the environment that a config names, with the tools that it allows."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

from pydantic import BaseModel, ValidationError

from millrace.errors import UsageError, did_you_mean
from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin
from millrace.synthesis.environments import Environment, Start, Tool, Verifier
from millrace.synthesis.settings import ENVIRONMENTS, SynthesisConfig
from millrace.synthesis.tool_host import ToolHost


def open_environment(config: SynthesisConfig) -> Environment:
    """The environment, opened; close it when done.

    Raises:
        UsageError: no such environment, wrong `environment_kwargs`, or a tool that it doesn't have.
        InputError: the data that it needs is not there.
    """
    module = load_plugin(ENVIRONMENTS, config.environment_mode, "environment")
    _check_arguments(module.open_environment, config.environment_kwargs, config.environment_mode)
    try:
        environment: Environment = module.open_environment(**config.environment_kwargs)
    except ValidationError as error:
        fields = _fields_of(module, error.title)
        raise UsageError("; ".join(_sentence(detail, fields) for detail in error.errors())) from None
    check_parts(completed(environment, Environment, f"the environment '{config.environment_mode}'"), config.environment_mode)
    if config.policy == "programmatic":
        _check_for_programs(environment, config.environment_mode)
    unknown = [name for name in config.available_tools if name not in environment.tools]
    if unknown:
        environment.close()
        raise UsageError(
            f"available_tools: the environment '{config.environment_mode}' has no tool '{unknown[0]}'"
            f"{did_you_mean(unknown[0], environment.tools)}"
        )
    if config.available_tools:
        environment.tools = {name: tool for name, tool in environment.tools.items() if name in config.available_tools}
    return HostedEnvironment(environment, ToolHost(config.environment_mode, config.environment_kwargs))


def check_parts(environment: Environment, name: str) -> None:
    """See that the parts of an environment fit each other.

    Raises:
        UsageError: they do not; the message says which and what to do.
    """
    what = f"the environment '{name}'"
    for key, tool in environment.tools.items():
        if key != tool.name:
            raise UsageError(f"{what}: its tools are by name, and the tool '{tool.name}' stands under '{key}'")
    for key, operator in environment.operators.items():
        if key != operator.name:
            raise UsageError(f"{what}: its operators are by name, and the operator '{operator.name}' stands under '{key}'")
        if operator.tool not in environment.tools:
            hint = did_you_mean(operator.tool, environment.tools)
            raise UsageError(f"{what}: the operator '{key}' calls the tool '{operator.tool}', which it does not have{hint}")
    if environment.verifier is not None:
        completed(environment.verifier, Verifier, f"the verifier of {what}")


def _check_for_programs(environment: Environment, name: str) -> None:
    """Without a model, questions are planned with operators and proven by the verifier."""
    lacks = "operators" if not environment.operators else "verifier" if environment.verifier is None else ""
    if lacks:
        environment.close()
        raise UsageError(
            f"the environment '{name}' has no {lacks}, so that no program can make questions in it: write {lacks} "
            "(docs/extending/environment.md), or set policy: chat"
        )


def _check_arguments(make: Callable[..., Any], given: Mapping[str, Any], name: str) -> None:
    try:
        inspect.signature(make).bind(**given)
    except TypeError as error:
        raise UsageError(f"environment_kwargs do not fit '{name}': open_environment{inspect.signature(make)}, {error}") from None


def _fields_of(module: ModuleType, settings: str) -> list[str]:
    """The fields of the settings class of that name, for a message."""
    model = vars(module).get(settings)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


class HostedEnvironment:
    """An environment whose tools run in a process that can be ended; everything else of it is as it was."""

    def __init__(self, inner: Environment, host: ToolHost) -> None:
        self._inner, self._host = inner, host
        self.name, self.concurrent, self.verifier = inner.name, inner.concurrent, inner.verifier
        self.operators, self.frames, self.versions = inner.operators, inner.frames, inner.versions
        self.tools = self._hosted(inner.tools)
        self.replay_tools = self._hosted(inner.replay_tools)

    def start(self, seed: str, rng: random.Random) -> Start:
        """Read a seed."""
        return self._inner.start(seed, rng)

    def prepare(self) -> None:
        """Nothing here: the tools' process does it for itself."""

    def close(self) -> None:
        """End the tools' process and let go of the environment."""
        self._host.close()
        self._inner.close()

    def _hosted(self, tools: Mapping[str, Tool]) -> Mapping[str, Tool]:
        return {name: tool if tool.contained else replace(tool, host=self._host) for name, tool in tools.items()}


def _sentence(detail: object, fields: list[str]) -> str:
    assert isinstance(detail, dict)
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"environment_kwargs: unknown key '{key}'{did_you_mean(key, fields)}"
    return f"environment_kwargs.{key}: {detail['msg']}, not {detail['input']!r}"
