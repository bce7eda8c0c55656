"""The families that are here, by name, and the problems that they draw."""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from millrace.errors import UsageError, did_you_mean
from millrace.plugins.entry_points import entry_points
from millrace.plugins.loading import load_plugin
from millrace.run.ids import random_for
from millrace.synthesis.families.contract import Problem

ROOMS = (
    "algebra",
    "chance",
    "code",
    "counting",
    "geometry",
    "logic",
    "numbers",
    "optimisation",
    "sequences",
    "stories",
    "tables",
)
"""The rooms beside this file; each file in one is a family."""

HERE = Path(__file__).parent
CONTRACT = "millrace.synthesis.families.contract"
"""What a family must have; also the group of entry points by which packages add families."""


@lru_cache(maxsize=1)
def rooms() -> dict[str, str]:
    """Family → its room, sorted by name."""
    modules = ((module.name, room) for room in ROOMS for module in pkgutil.iter_modules([str(HERE / room)]))
    found = {name: room for name, room in modules if not name.startswith("_")}
    return dict(sorted(found.items()))


def chosen(names: tuple[str, ...]) -> list[str]:
    """The families that a config means: names, rooms, dotted paths of modules of one's own; nothing named: all that are here."""
    found: dict[str, None] = {}
    for name in names or rooms():
        found |= dict.fromkeys(family for family, room in rooms().items() if room == name) if name in ROOMS else {name: None}
    return list(found)


@lru_cache(maxsize=256)
def load_family(name: str) -> ModuleType:
    """The module of a family.

    Raises:
        UsageError: nothing is called that, or it lacks something; the message says what to do.
    """
    if name in rooms():
        return load_plugin(CONTRACT, path_of(name), "family")
    if "." in name or name in entry_points(CONTRACT):
        return load_plugin(CONTRACT, name, "family")
    raise UsageError(f"no family named '{name}'{did_you_mean(name, [*rooms(), *ROOMS])}")


def path_of(name: str) -> str:
    """The dotted path of a family that is here."""
    return f"{__package__}.{rooms()[name]}.{name}"


@lru_cache(maxsize=512)
def problem_of(name: str, level: int, seed: int) -> Problem:
    """The problem that a family draws for a seed: the same wherever and whenever it is drawn."""
    problem: Problem = load_family(name).draw(random_for(seed, "family", name.rpartition(".")[2], f"level {level}"), level)
    return problem
