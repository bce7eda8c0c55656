"""What a run will ask and cost, for `--dry-run`: an estimate, labelled as one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from millrace.llm import Usage
from millrace.llm.image_tokens import image_tokens
from millrace.llm.prices import cost_usd, list_name, price_of
from millrace.llm.settings import ModelSettings
from millrace.records.llm import LedgerRow
from millrace.run.counted import counted

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

ENOUGH_ANSWERS = 20
"""So many answers of a run say more about the rest of it than any assumption."""

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


def lines_of(calls: Sequence[tuple[ModelSettings, Planned]], measured: Sequence[LedgerRow] = ()) -> list[str]:
    """The lines for `--dry-run`: calls, tokens, cost and time per stage and model, then what they come to together.

    Args:
        calls: the models with what each is asked.
        measured: the ledger of a run that has begun (`run_chats.ledger_of_run`); its first answers say how many tokens a call
            takes.
    """
    if not calls:
        return []
    lines: list[str] = []
    total_usd: float | None = 0.0
    number, seconds, listed, thinking = 0, 0.0, False, False
    taken: dict[tuple[str, str], int] = {}
    for settings, stage in calls:
        price = price_of(settings)
        call = call_of(settings, stage, measured, [planned for _, planned in calls])
        usage = Usage(
            input_tokens=stage.calls * (call.usage.input_tokens or 0), output_tokens=stage.calls * (call.usage.output_tokens or 0)
        )
        one = cost_usd(call.usage, price)  # by the call: a price may rise with a prompt's length
        share = settings.batch.price_factor if settings.mode == "batch" else 1.0
        cost = None if one is None else stage.calls * one * share
        if call.answers:
            taken[call.stage, settings.model] = call.answers
        thinking = thinking or (not call.answers and bool(thought_tokens(settings)))
        total_usd = None if total_usd is None or cost is None else total_usd + cost
        number += stage.calls
        seconds += _seconds(settings, stage.calls) if settings.mode == "live" else 0.0
        listed = listed or (settings.price is None and bool(settings.endpoints) and price is not None)
        name = settings.model or settings.provider
        asked = f"{stage.stage}: at most {counted(stage.calls, 'calls')} of {name}{_batched(settings)}"
        lines.append(f"{asked}, {_tokens(usage)}, {_money(cost)}")
    slots = min(settings.max_in_flight * max(1, len(settings.endpoints)) for settings, _ in calls)
    basis = f"at {slots} or more in flight and an assumed {LATENCY_S:g} s per call"
    lines.append(
        f"together (an estimate): at most {counted(number, 'calls')}, {_money(total_usd)}, about {_time(seconds)} {basis}"
    )
    if listed:
        lines.append(f"prices: {list_name()}; set `price` for yours")
    if thinking:
        assumed = f"{THOUGHT_TOKENS} tokens of thoughts per answer are assumed for models that think"
        lines[-1] += f"; {assumed}"
    if taken:
        stages = dict.fromkeys(stage for stage, _ in taken)
        answers = ", ".join(f"{sum(n for (of, _), n in taken.items() if of == stage):,} of {stage}" for stage in stages)
        lines.append(f"tokens per call: measured on this run's answers ({answers}), pictures and thoughts included; else assumed")
    if measured:
        lines.append(f"paid so far in this folder, and not asked again: {paid_words(measured)}")
    return lines


class Call(NamedTuple):
    """What one call takes, and how that is known."""

    usage: Usage
    stage: str = ""
    """The stage whose answers said so; "" where nothing did."""
    answers: int = 0
    """How many they were; 0: the usage is assumed."""


def call_of(settings: ModelSettings, stage: Planned, measured: Sequence[LedgerRow] = (), others: Sequence[Planned] = ()) -> Call:
    """One call of a stage to this model: as the first answers of the stage took, where there are enough of them; else as those of
    another stage with as many pictures did.

    Args:
        settings: the model.
        stage: what it is asked.
        measured: the ledger so far.
        others: all stages of the run.
    """
    alike = [other for other in others if other.pictures == stage.pictures and other.stage != stage.stage]
    for known in (stage, *alike):
        rows = _rows_of(settings, known, measured)
        answers = sum(row.calls - row.unknown_tokens for row in rows)
        if answers >= ENOUGH_ANSWERS:
            read, written = sum(row.input_tokens for row in rows), sum(row.output_tokens for row in rows)
            usage = Usage(input_tokens=round(read / answers), output_tokens=round(written / answers))
            return Call(usage, known.stage, answers)
    seen = stage.pictures * image_tokens(*PICTURE, settings.model) if stage.pictures else 0
    output = stage.output_tokens + thought_tokens(settings)
    return Call(Usage(input_tokens=stage.input_tokens + seen, output_tokens=output))


def paid_words(paid: Sequence[LedgerRow]) -> str:
    """What was paid for, in words; a sum with unknown parts is called a lower bound."""
    if not paid:
        return "nothing, no model was asked"
    calls, unknown = sum(row.calls for row in paid), sum(row.unknown_cost for row in paid)
    tokens = f"{sum(row.input_tokens for row in paid):,} tokens in, {sum(row.output_tokens for row in paid):,} out"
    dollars = sum(row.cost_usd for row in paid)
    money = "price unknown" if unknown == calls else f"{'at least ' if unknown else ''}${dollars:,.4f}"
    return f"{money} for {calls:,} model calls ({tokens})"


def _rows_of(settings: ModelSettings, stage: Planned, measured: Sequence[LedgerRow]) -> list[LedgerRow]:
    """The ledger's rows of this stage and model; servers give a model's name with a date or an owner."""
    name = settings.model.rpartition("/")[2]
    return [row for row in measured if row.stage == stage.stage and name in row.model]


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


def _batched(settings: ModelSettings) -> str:
    if settings.mode != "batch":
        return ""
    return f" in batches (at {settings.batch.price_factor:.0%} of the price; up to 24 h each, not in the time below)"


def _money(usd: float | None) -> str:
    return "cost unknown" if usd is None else f"about ${usd:.2f}"


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
