"""Hyperparameters: what each may be, and how its values are spelled so that the training uses exactly what was drawn."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from millrace.config import Settings

Value = bool | int | float | str
PassedAs = Literal["pair", "equals", "switch", "override"]


class Parameter(Settings):
    """One hyperparameter: its type, default, and the values a mutation may draw."""

    type: Literal["int", "float", "str", "bool"] = "float"
    """int, float, str or bool."""
    default: Value | None = None
    """The value when nothing is asked for; null passes no argument."""
    range: tuple[float, float] | None = None
    """Lowest and highest value a mutation may draw, both included; null: only `choices`."""
    distribution: Literal["uniform", "log_uniform", "choice"] = "uniform"
    """How values are drawn from the range."""
    choices: list[Value] | None = None
    """The values of a `choice`."""
    zero_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    """The chance of exactly 0, for switches such as weight decay."""
    only_if: dict[str, list[Value]] = {}
    """Drawn only when each parameter named here has one of the values listed; else not passed at all."""
    flag: str | None = None
    """The command-line option as it is written, such as --batch_size, -b or (Hydra) optimizer.lr; null: made from the name."""
    passed_as: PassedAs | None = None
    """pair: --lr 0.1. equals: --lr=0.1. switch: --amp when true. override: lr=0.1, as Hydra takes it. null: the program's."""
    off_flag: str | None = None
    """What a switch passes when false, such as --no-amp; null: nothing."""

    @model_validator(mode="after")
    def _can_be_drawn_from(self) -> Parameter:
        if self.range is not None:
            low, high = self.range
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError(f"range [{low}, {high}] must be finite")
            if low > high:
                raise ValueError(f"range [{low:g}, {high:g}] is upside down")
            if self.distribution == "log_uniform" and low <= 0:
                raise ValueError(f"log_uniform needs a range above 0, not from {low:g}; use zero_probability for exact zeros")
            if self.type == "int" and math.ceil(low) > math.floor(high):
                raise ValueError(f"range [{low:g}, {high:g}] holds no whole number")
        if self.passed_as == "switch" and self.type != "bool":
            raise ValueError(f"a switch is true or false: its type must be bool, not {self.type}")
        if self.distribution == "choice" and not self.choices:
            raise ValueError("a choice needs `choices`")
        if self.choices is not None and len({typed(self.convert(value)) for value in self.choices}) < len(self.choices):
            raise ValueError("choices must differ from one another")
        return self

    @property
    def mutable(self) -> bool:
        """Whether there is anything to draw."""
        return self.range is not None or bool(self.choices)

    def convert(self, value: Any) -> Value:
        """`value` as this parameter's type, exactly; text as in old CSV files is understood.

        Raises:
            ValueError: it is not of this type.
        """
        if self.type == "bool":
            if isinstance(value, str):
                return value.strip().lower() in {"1", "true", "yes"}
            return bool(value)
        if self.type == "str":
            return str(value)
        if isinstance(value, bool):
            raise ValueError(f"{value!r} is not a number")
        number = float(value)
        if self.type == "float":
            return number
        if number != int(number):
            raise ValueError(f"{value!r} is not a whole number")
        return int(value) if isinstance(value, int) else int(number)

    def size(self) -> int | None:
        """How many different values a mutation can draw; None: too many to count."""
        if self.choices:
            return len(self.choices)
        if self.range is None:
            return 1
        low, high = self.range
        if self.type == "int":
            count = math.floor(high) - math.ceil(low) + 1
            return count + (self.zero_probability > 0 and not low <= 0 <= high)
        return 1 + (self.zero_probability > 0) if low == high else None


def typed(value: Value) -> tuple[str, str]:
    """A key under which equal values of the same type are equal: 1 and 1.0 and True and "1" are four different ones."""
    return type(value).__name__, repr(value)


def spell(value: Value) -> str:
    """The one spelling of `value` for a command line; reading it back gives the same value, bit for bit."""
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else repr(value)


def arguments(
    parameters: dict[str, Parameter], values: dict[str, Value], *, underscores: bool = False, passed_as: PassedAs = "pair"
) -> list[str]:
    """Command-line arguments for `values`, in the order of their names."""
    spelled: list[str] = []
    for name in sorted(values):
        parameter, value = parameters[name], values[name]
        how = parameter.passed_as or passed_as
        flag = parameter.flag or (name if how == "override" else f"--{name if underscores else name.replace('_', '-')}")
        if how == "switch" and isinstance(value, bool):
            spelled += [flag] if value else [parameter.off_flag] if parameter.off_flag else []
        elif how in {"equals", "override"}:
            spelled.append(f"{flag}={spell(value)}")
        else:
            spelled += [flag, spell(value)]
    return spelled
