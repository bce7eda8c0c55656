"""Prefect tasks of the library's functions. `tasks/` says how each is named in the UI; here is what all of them have in common.

    write_shard = shard_task(write_shards.write_shard, "write {selection.name}")

A stage knows the function; the run looks up its task: the one made in `tasks/<domain>.py`, else one with the function's name (a
user's own function).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from millrace.orchestration.abandoned import timed
from millrace.plugins.entry_points import module_exists

Function = Callable[..., Any]

_shards: dict[Function, Any] = {}
_steps: dict[Function, Any] = {}


def shard_task(function: Function, run_name: str) -> Any:
    """The task of a function that is mapped over shards: it records when it was at work and ends when its run is gone.

    Args:
        function: of a module that workers can import.
        run_name: the task run's name in the UI; may name the function's parameters in braces.
    """
    made: Any = task(task_run_name=run_name, cache_policy=NO_CACHE)(timed(function))
    return _shards.setdefault(function, made)


def step_task(function: Function, run_name: str) -> Any:
    """The task of a function that is called once, in the flow's process. Arguments: as for `shard_task`."""
    made: Any = task(task_run_name=run_name, cache_policy=NO_CACHE)(function)
    return _steps.setdefault(function, made)


def shard_task_of(function: Function, package: str) -> Any:
    """The task of `function`, made in a module of `package` (`tasks`) or now."""
    _import_tasks_of(function, package)
    return _shards.get(function) or shard_task(function, function.__name__)


def step_task_of(function: Function, package: str) -> Any:
    """As `shard_task_of`, for a function that is called once."""
    _import_tasks_of(function, package)
    return _steps.get(function) or step_task(function, function.__name__)


def _import_tasks_of(function: Function, package: str) -> None:
    """The tasks of `millrace.qa.…` are in `tasks/qa.py`; where none lie beside a user's own flow, the installed ones are used."""
    library, _, rest = function.__module__.partition(".")
    if library != "millrace":
        return
    for name in (f"{place}.{rest.partition('.')[0]}" for place in (package, "millrace.tasks")):
        if module_exists(name):
            importlib.import_module(name)
            return
