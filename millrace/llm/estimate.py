"""What a run will ask and cost, for `--dry-run`: an estimate, and it says so."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from millrace.llm import Usage
from millrace.llm.image_tokens import image_tokens
from millrace.llm.prices import cost_usd, list_name, price_of
from millrace.llm.settings import ModelSettings

PROMPT_TOKENS = 300
"""Per call: a claim, a vote or a question in words, roughly."""

ANSWER_TOKENS = 90
"""Per call: a reply with one sentence of explanation, roughly."""

PICTURE = (1024, 768)
"""Pixels of a picture of the usual size."""

THOUGHT_TOKENS = 700
"""Per answer of a model that thinks, roughly: between a few hundred at low effort and some thousands at high."""

_THINKS = re.compile(
    r"gpt-5(?!.*chat)|o\d\b|gemini-(2\.5|[3-9])(?!.*lite)|.*(thinking|reason|r1\b|qwq)|kimi-k2-think|grok-4", re.IGNORECASE
)

LATENCY_S = 2.0
"""Assumed for one call when nothing was measured: a few hundred tokens at a hundred tokens a second."""


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """The calls of one stage."""

    stage: str
    calls: int
    input_tokens: int
    """Per call, without the pictures counted next."""
    output_tokens: int
    """Per call, without thoughts."""
    pictures: int = 0
    """Per call, of the usual size: how many tokens that is depends on the model."""


def about_a_picture(stage: str, calls: int, *, pictures: int = 1) -> Planned:
    """Calls of the usual size, about a picture of usual size (`pictures=0`: without it)."""
    return Planned(stage=stage, calls=calls, input_tokens=PROMPT_TOKENS, output_tokens=ANSWER_TOKENS, pictures=pictures)


def estimate_lines(settings: ModelSettings, planned: Sequence[Planned]) -> list[str]:
    """The lines for `--dry-run` of one model: calls, tokens, cost and time per stage and in sum."""
    return lines_of([(settings, stage) for stage in planned])


def lines_of(calls: Sequence[tuple[ModelSettings, Planned]]) -> list[str]:
    """The same for the calls of several models: a line per stage and model, then what they come to together."""
    if not calls:
        return []
    lines: list[str] = []
    total_usd: float | None = 0.0
    number, seconds, listed, thinking = 0, 0.0, False, False
    for settings, stage in calls:
        price = price_of(settings)
        call = usage_of(settings, stage)
        usage = Usage(input_tokens=stage.calls * (call.input_tokens or 0), output_tokens=stage.calls * (call.output_tokens or 0))
        one = cost_usd(call, price)  # by the call: a price may rise with a prompt's length
        cost = None if one is None else stage.calls * one
        thinking = thinking or bool(thought_tokens(settings))
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
        lines.append(f"prices: {list_name()}; set `price` for yours")
    if thinking:
        assumed = f"{THOUGHT_TOKENS} tokens of thoughts per answer are assumed for models that think"
        lines[-1] += f"; {assumed}"
    return lines


def usage_of(settings: ModelSettings, stage: Planned) -> Usage:
    """The tokens of one call of a stage to this model."""
    seen = stage.pictures * image_tokens(*PICTURE, settings.model) if stage.pictures else 0
    return Usage(input_tokens=stage.input_tokens + seen, output_tokens=stage.output_tokens + thought_tokens(settings))


def thought_tokens(settings: ModelSettings) -> int:
    """Tokens of thoughts that an answer of this model is assumed to take."""
    switched_off = settings.options.get("thinking_budget") == 0
    return 0 if switched_off or not _THINKS.match(settings.model.rpartition("/")[2]) else THOUGHT_TOKENS


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
