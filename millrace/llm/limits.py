"""How long a model's answers may be, by a config: what a raised limit concerns is what broke off, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

LIMITS = ("max_tokens", "longest_answer")
"""The fields that say how long an answer may be."""

CUT_OFF = "cut_off"
"""The reason of everything that broke off at its longest length."""


def gives_more_room(before: BaseModel, now: BaseModel) -> bool:
    """Whether a limit is higher in `now` than it was in `before`, anywhere in two configs that are otherwise alike."""
    return any(new > old for old, new in zip(_limits_in(before), _limits_in(now), strict=True))


def _limits_in(settings: BaseModel) -> Iterator[int]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name in LIMITS:
            yield value
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                yield from _limits_in(part)
