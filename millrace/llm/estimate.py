"""What a run will ask and cost, for `--dry-run`: an estimate, and it says so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from millrace.llm import Usage
from millrace.llm.prices import AS_OF, cost_usd, price_of
from millrace.llm.settings import ModelSettings

PROMPT_TOKENS = 300
"""Per call: a claim, a vote or a question in words, roughly."""

ANSWER_TOKENS = 90
"""Per call: a reply with one sentence of explanation, roughly."""

LATENCY_S = 2.0
"""Assumed for one call when nothing was measured: a few hundred tokens at a hundred tokens a second."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one stage."""

    stage: str
    calls: int
    input_tokens: int
    """Per call, images included."""
    output_tokens: int
    """Per call."""


def about_a_picture(stage: str, calls: int, *, pictures: int = 1) -> Planned:
    """Calls of the usual size, about a picture of usual size (`pictures=0`: without it)."""
    seen = pictures * image_tokens(1024, 768)
    return Planned(stage=stage, calls=calls, input_tokens=PROMPT_TOKENS + seen, output_tokens=ANSWER_TOKENS)


def image_tokens(width: int, height: int) -> int:
    """Prompt tokens of an image, roughly: vision models of today take one per 28 x 28 pixels."""
    return max(1, -(-width // 28)) * max(1, -(-height // 28))


def estimate_lines(settings: ModelSettings, planned: Sequence[Planned]) -> list[str]:
    """The lines for `--dry-run` of one model: calls, tokens, cost and time per stage and in sum."""
    return lines_of([(settings, stage) for stage in planned])


def lines_of(calls: Sequence[tuple[ModelSettings, Planned]]) -> list[str]:
    """The same for the calls of several models: a line per stage and model, then what they come to together."""
    if not calls:
        return []
    lines: list[str] = []
    total_usd: float | None = 0.0
    number, seconds, listed = 0, 0.0, False
    for settings, stage in calls:
        price = price_of(settings)
        usage = Usage(input_tokens=stage.calls * stage.input_tokens, output_tokens=stage.calls * stage.output_tokens)
        cost = cost_usd(usage, price)
        total_usd = None if total_usd is None or cost is None else total_usd + cost
        number += stage.calls
        seconds += _seconds(settings, stage.calls)
        listed = listed or (settings.price is None and bool(settings.endpoints) and price is not None)
        name = settings.model or settings.provider
        lines.append(f"{stage.stage}: at most {stage.calls:,} calls of {name}, {_tokens(usage)}, {_money(cost)}")
    slots = min(settings.max_in_flight * max(1, len(settings.endpoints)) for settings, _ in calls)
    basis = f"at {slots} or more in flight and an assumed {LATENCY_S:g} s per call"
    lines.append(f"together (an estimate): at most {number:,} calls, {_money(total_usd)}, about {_time(seconds)} {basis}")
    if listed:
        lines.append(f"prices: the built-in table of {AS_OF}; set `price` for yours")
    return lines


def _seconds(settings: ModelSettings, calls: int) -> float:
    seconds = calls * LATENCY_S / (settings.max_in_flight * max(1, len(settings.endpoints)))
    if settings.requests_per_minute is not None:
        seconds = max(seconds, calls * 60 / settings.requests_per_minute)
    return seconds


def _tokens(usage: Usage) -> str:
    return f"{usage.input_tokens or 0:,} + {usage.output_tokens or 0:,} tokens"


def _money(usd: float | None) -> str:
    return "cost unknown" if usd is None else f"about ${usd:.2f}"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
