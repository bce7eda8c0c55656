"""Numbers as the report shows them: words, percentages of an axis, shares of a bar. Unknown is "not measured", never 0."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from markupsafe import Markup, escape

from millrace.reporting.intervals import Rate

PAGE_PARTS = Path(__file__).parent
"""The folder of what all pages share: the style."""

UNKNOWN = "not measured"
NBSP = "\u00a0"
"""Between a number and its unit, so that no line breaks there."""


AXES = ((0.1, 0.02), (0.2, 0.05), (0.5, 0.1), (0.75, 0.25), (1.0, 0.25))
"""Where an axis may end, and how far apart its ticks then are."""


SIGNED_AXES = ((0.05, 0.025), (0.1, 0.05), (0.2, 0.1), (0.5, 0.25), (1.0, 0.5))
"""The same for an axis of differences, on each side of 0."""


class Axis(msgspec.Struct, frozen=True):
    """A horizontal axis of rates from 0 to `end`."""

    end: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where `value` lies, in percent of the axis."""
        return round(100 * min(max(value / self.end, 0.0), 1.0), 2)


class SignedAxis(msgspec.Struct, frozen=True):
    """A horizontal axis of differences, from -`reach` to `reach`, with 0 in its middle."""

    reach: float
    ticks: tuple[float, ...]

    def place(self, value: float) -> float:
        """Where `value` lies, in percent of the axis."""
        return round(100 * min(max((value / self.reach + 1) / 2, 0.0), 1.0), 2)


class Whisker(msgspec.Struct, frozen=True):
    """A dot with its interval, in percent of the axis."""

    dot: float
    left: float
    width: float


class Segment(msgspec.Struct, frozen=True):
    """One part of a stacked bar."""

    name: str
    value: float
    width: float
    """Percent of the bar."""


def axis_for(rates: Iterable[Rate]) -> Axis:
    """An axis that ends at the next round figure above every interval."""
    highest = max((interval[1] for rate in rates if (interval := rate.interval)), default=1.0)
    end, step = next((end, step) for end, step in AXES if highest <= end)
    return Axis(end, tuple(round(index * step, 2) for index in range(round(end / step) + 1)))


def signed_axis_for(values: Iterable[float]) -> SignedAxis:
    """An axis that ends at the next round figure beyond every value, on both sides."""
    highest = max((abs(value) for value in values), default=0.1)
    reach, step = next((end, step) for end, step in SIGNED_AXES if highest <= end or end == 1.0)
    count = round(reach / step)
    return SignedAxis(reach, tuple(round(index * step, 3) for index in range(-count, count + 1)))


def whisker(rate: Rate, axis: Axis) -> Whisker | None:
    """Where `rate` and its interval are drawn; None when nothing was counted."""
    if rate.interval is None or rate.rate is None:
        return None
    left, right = axis.place(rate.interval[0]), axis.place(rate.interval[1])
    return Whisker(axis.place(rate.rate), left, round(right - left, 2))


def stacked(parts: Mapping[str, float], total: float | None = None) -> list[Segment]:
    """The parts that are not zero as segments of one bar; `total` is what 100 % means, by default their sum."""
    whole = total or sum(parts.values()) or 1.0
    return [Segment(name, value, round(100 * value / whole, 3)) for name, value in parts.items() if value > 0]


def clearly_apart(one: Rate, other: Rate) -> bool:
    """Whether the intervals of two rates do not touch: a difference that chance alone hardly explains."""
    if one.interval is None or other.interval is None:
        return False
    return one.interval[0] > other.interval[1] or other.interval[0] > one.interval[1]


def percent(share: float | None, digits: int = 0) -> str:
    """0.274 as `27 %`; a share above zero never reads as 0 %, one below one never as 100 %."""
    if share is None:
        return UNKNOWN
    text = f"{100 * share:.{digits}f}"
    if 0 < share < 1 and float(text) in {0.0, 100.0} and digits < 3:
        return percent(share, digits + 1)
    return f"{text}{NBSP}%"


def points(difference: float | None, *, signed: bool = True) -> str:
    """A difference of shares in percentage points: -0.0521 as `−5.2 points`, without its sign as `5.2 points`."""
    if difference is None:
        return UNKNOWN
    size = f"{100 * abs(difference):.1f}"
    sign = "" if not signed or float(size) == 0 else "−" if difference < 0 else "+"
    return f"{sign}{size}{NBSP}points"


def span_points(low: float | None, high: float | None) -> str:
    """An interval of differences: `−9.1 to −1.3 points`."""
    if low is None or high is None:
        return UNKNOWN
    return f"{points(low).removesuffix(f'{NBSP}points')} to {points(high)}"


def interval_words(rate: Rate, digits: int = 0) -> str:
    """`25 to 30 %`, or that it was not measured."""
    if rate.interval is None:
        return UNKNOWN
    low, high = rate.interval
    digits = max(digits, 1 if high < 0.02 else 0)
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}{NBSP}%"


def number(value: float | None) -> str:
    """12800 as `12,800`."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def dollars(usd: float | None) -> str:
    """1.5 as `$1.50`, small sums with four digits."""
    if usd is None:
        return UNKNOWN
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def duration(seconds: float | None) -> str:
    """102.4 as `1 min 42 s`, 4.25 as `4.2 s`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 10:
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{hours}{NBSP}h {minutes}{NBSP}min"
    return f"{minutes}{NBSP}min {left}{NBSP}s" if minutes else f"{left}{NBSP}s"


def words(name: str) -> str:
    """`low_light` as `low light`."""
    return name.replace("_", " ")


def with_slots(sentence: str) -> Markup:
    """A claim's sentence, escaped, with its open `[SLOTS]` set apart as blanks to fill."""
    parts = _SLOT.split(sentence)
    marked = (
        Markup('<span class="slot">{}</span>').format(words(part).lower()) if index % 2 else escape(part)
        for index, part in enumerate(parts)
    )
    return Markup("").join(marked)


_SLOT = re.compile(r"\[([A-Z][A-Z0-9_]*)\]")
