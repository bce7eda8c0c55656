"""Opens the environment that a config names, with the tools that it allows."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace

from pydantic import ValidationError

from millrace.errors import UsageError, did_you_mean
from millrace.plugins.loading import load_plugin
from millrace.synthesis.environments import Environment, Start, Tool
from millrace.synthesis.settings import ENVIRONMENTS, SynthesisConfig
from millrace.synthesis.tool_host import ToolHost


def open_environment(config: SynthesisConfig) -> Environment:
    """The environment, opened; close it when done.

    Raises:
        UsageError: no such environment, wrong `environment_kwargs`, or a tool that it doesn't have.
        InputError: the data that it needs is not there.
    """
    module = load_plugin(ENVIRONMENTS, config.environment_mode, "environment")
    make = getattr(module, "open_environment", None)
    if make is None:
        raise UsageError(f"the module {module.__name__} has no function open_environment(**environment_kwargs)")
    try:
        environment: Environment = make(**config.environment_kwargs)
    except ValidationError as error:
        fields = list(getattr(getattr(module, "Options", None), "model_fields", {}))
        raise UsageError("; ".join(_sentence(detail, fields) for detail in error.errors())) from None
    except TypeError as error:
        raise UsageError(f"environment_kwargs do not fit '{config.environment_mode}': {error}") from error
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
