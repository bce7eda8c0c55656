"""Draws hyperparameter sets: all different, reproducible from one seed, exact.

Finite spaces are drawn without repetition until they are exhausted; `Mutations.exhausted` reports it.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from millrace.errors import UsageError, did_you_mean
from millrace.training.parameters import Parameter, Value, typed

MAX_COUNTED = 1_000_000
"""Spaces up to this size are counted and, when most of them is asked for, enumerated."""

MAX_MISSES = 1_000
"""Draws in a row without anything new, after which an uncounted space counts as exhausted (the original's limit in total)."""

Key = tuple[tuple[str, tuple[str, str]], ...]


@dataclass(frozen=True)
class Mutations:
    """The sets drawn. `exhausted` means that there are no more than these (`available`: how many; None: unknown)."""

    sets: list[dict[str, Value]]
    exhausted: bool
    available: int | None


def choose_names(parameters: Mapping[str, Parameter], asked: Sequence[str] | None, *, where: str) -> list[str]:
    """The parameters to mutate: those asked for, or all that can be (`None`, or the word `all`).

    Raises:
        UsageError: an unknown name, or one with nothing to draw from.
    """
    if asked is None or list(asked) == ["all"]:
        names = [name for name, parameter in parameters.items() if parameter.mutable]
        if not names:
            raise UsageError(f"{where}: none of its parameters has a range or choices, so there is nothing to mutate")
        return sorted(names)
    for name in asked:
        if name not in parameters:
            raise UsageError(f"{where}: no parameter named '{name}'{did_you_mean(name, parameters)}")
        if not parameters[name].mutable:
            raise UsageError(f"{where}: '{name}' has neither a range nor choices, so it cannot be mutated")
    if len(set(asked)) < len(asked):
        raise UsageError(f"{where}: a parameter to mutate is named twice")
    return sorted(asked)


def key_of(values: Mapping[str, Value]) -> Key:
    """What makes two sets the same: names, types and exact values."""
    return tuple(sorted((name, typed(value)) for name, value in values.items()))


def mutate(
    parameters: Mapping[str, Parameter],
    names: Sequence[str],
    count: int,
    generator: random.Random,
    *,
    fixed: Mapping[str, Value] | None = None,
    known: set[Key] | None = None,
) -> Mutations:
    """Draw `count` different sets of the parameters `names`.

    Args:
        parameters: all parameters, for defaults and conditions.
        names: those to draw.
        count: how many sets.
        generator: the only source of randomness; the first n sets are the same for every count >= n of an uncounted space.
        fixed: values of other parameters, on which conditions may depend.
        known: keys of sets that must not come again. The set of all defaults never comes.
    """
    order = _by_condition(parameters, names)
    base = {name: value.default for name, value in parameters.items() if value.default is not None and name not in names}
    base |= dict(fixed or {})
    defaults = {name: default for name in names if (default := parameters[name].default) is not None}
    seen = set(known or ()) | ({key_of(defaults)} if len(defaults) == len(names) else set())
    found: list[dict[str, Value]] = []
    space = _space(parameters, order)
    if space is not None and count * 4 >= space:
        every = [dict(zip(order, values, strict=True)) for values in itertools.product(*(_all(parameters[n]) for n in order))]
        candidates: dict[Key, dict[str, Value]] = {}
        for values in every:
            kept = _meeting_conditions(parameters, order, values, base)
            candidates.setdefault(key_of(kept), kept)
        free = [candidates[key] for key in sorted(candidates) if key not in seen]
        generator.shuffle(free)
        return Mutations(free[:count], len(free) < count, len(free))
    misses = 0
    while len(found) < count and misses < MAX_MISSES:
        values = _draw(parameters, order, generator, base)
        key = key_of(values)
        if key in seen:
            misses += 1
            continue
        misses = 0
        seen.add(key)
        found.append(values)
    return Mutations(found, len(found) < count, None if len(found) == count else len(found))


def draw_one(parameter: Parameter, generator: random.Random) -> Value:
    """One value of `parameter`."""
    if parameter.zero_probability and generator.random() < parameter.zero_probability:
        return 0 if parameter.type == "int" else 0.0
    if parameter.choices:
        return parameter.convert(generator.choice(parameter.choices))
    assert parameter.range is not None
    low, high = parameter.range
    if parameter.type == "int":
        first, last = math.ceil(low), math.floor(high)
        if parameter.distribution == "log_uniform":
            # Every whole number owns the stretch around it, so the ends are as likely as their neighbours.
            value = round(math.exp(generator.uniform(math.log(first - 0.5), math.log(last + 0.5))))
            return min(max(value, first), last)
        return generator.randint(first, last)
    if parameter.distribution == "log_uniform":
        return min(max(math.exp(generator.uniform(math.log(low), math.log(high))), low), high)
    return generator.uniform(low, high)


def _draw(
    parameters: Mapping[str, Parameter], order: Sequence[str], generator: random.Random, base: Mapping[str, Value]
) -> dict[str, Value]:
    values: dict[str, Value] = {}
    for name in order:
        # Drawn also when its condition fails, so that later parameters do not depend on earlier outcomes.
        value = draw_one(parameters[name], generator)
        if not parameters[name].only_if or _applies(parameters[name], base, values):
            values[name] = value
    return values


def _meeting_conditions(
    parameters: Mapping[str, Parameter], order: Sequence[str], values: Mapping[str, Value], base: Mapping[str, Value]
) -> dict[str, Value]:
    kept: dict[str, Value] = {}
    for name in order:
        if _applies(parameters[name], base, kept):
            kept[name] = values[name]
    return kept


def _applies(parameter: Parameter, base: Mapping[str, Value], values: Mapping[str, Value]) -> bool:
    return all(values.get(other, base.get(other)) in allowed for other, allowed in parameter.only_if.items())


def _by_condition(parameters: Mapping[str, Parameter], names: Sequence[str]) -> list[str]:
    """Names sorted so that a parameter comes after those its condition looks at."""
    done: list[str] = []
    waiting = sorted(names)
    while waiting:
        ready = [name for name in waiting if not set(parameters[name].only_if) & set(waiting)]
        if not ready:
            raise UsageError(f"the conditions of {', '.join(waiting)} depend on each other in a circle")
        done += ready
        waiting = [name for name in waiting if name not in ready]
    return done


def _space(parameters: Mapping[str, Parameter], names: Sequence[str]) -> int | None:
    total = 1
    for name in names:
        size = parameters[name].size()
        if size is None or total * size > MAX_COUNTED:
            return None
        total *= size
    return total


def _all(parameter: Parameter) -> Iterator[Value]:
    if parameter.choices:
        yield from (parameter.convert(value) for value in parameter.choices)
        return
    assert parameter.range is not None
    low, high = parameter.range
    zero_inside = low <= 0 <= high
    if parameter.zero_probability and not zero_inside:
        yield 0 if parameter.type == "int" else 0.0
    if parameter.type == "int":
        yield from range(math.ceil(low), math.floor(high) + 1)
    else:
        yield low
