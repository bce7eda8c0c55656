"""An environment of your own, in one file: dates. `configs/synthesis/custom.yaml` names it by its dotted path.

Three things make an environment: tools that really run, operators that say what can be asked with them and in which words, and a
verifier that finds every value in another way. The tool here uses `datetime`; the verifier counts days by itself.
"""

# ruff: noqa: E501 - the table reads best with one operator on a line, and Chinese counts double

from __future__ import annotations

import datetime
import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Operator, Start, Tool, ToolError, Unprovable, Value, result_of

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY = datetime.timedelta(days=1)


# The tool -----------------------------------------------------------------------------------------------------------------


def _last_of_month(date: datetime.date) -> datetime.date:
    return (date.replace(day=28) + 4 * DAY).replace(day=1) - DAY


def _first_weekday_after(date: datetime.date, weekday: str) -> datetime.date:
    return date + DAY * ((WEEKDAYS.index(weekday) - date.weekday() - 1) % 7 + 1)


def _kth_weekday(date: datetime.date, k: int, weekday: str) -> datetime.date:
    return _first_weekday_after(date.replace(day=1) - DAY, weekday) + DAY * 7 * (k - 1)


OPERATIONS: dict[str, Callable[..., Any]] = {
    "add_days": lambda date, n: date + DAY * n,
    "subtract_weeks": lambda date, n: date - DAY * 7 * n,
    "end_of_month": _last_of_month,
    "years_later": lambda date, n: date.replace(year=date.year + n),
    "weekday_after": _first_weekday_after,
    "kth_weekday": _kth_weekday,
    "day_of_year": lambda date: date.timetuple().tm_yday,
    "days_between": lambda date, other: abs((date - datetime.date.fromisoformat(other)).days),
}


def calendar(operation: str, date: str, arguments: dict[str, Any]) -> str:
    """The tool: one operation on a date."""
    try:
        value = OPERATIONS[operation](datetime.date.fromisoformat(date), **arguments)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ToolError(f"{operation} of {date} with {arguments}: {error}") from error
    return f"Result:\n{operation} = {value}"


# The operators ------------------------------------------------------------------------------------------------------------


def _operator(
    name: str, en: str, zh: str, draw: Callable[[random.Random], dict[str, Any]] = lambda rng: {}, gives: str = "date"
) -> Operator:
    def read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> Value:
        said = result_of(text, name)
        return said if gives == "date" else int(said)

    return Operator(
        name=name, takes="date", gives=gives, tool="calendar", en=en, zh=zh, read=read,
        draw=lambda rng, values: draw(rng),
        act=lambda args, values: {"operation": name, "date": values[-1], "arguments": dict(args)},
    )  # fmt: skip


def _days_between() -> Operator:
    def draw(rng: random.Random, values: Sequence[Value]) -> dict[str, Any] | None:
        return {"other": rng.randrange(len(values) - 1)} if len(values) > 1 else None

    return Operator(
        name="days_between", takes="date", gives="count", tool="calendar", draw=draw, weight=2.0,
        act=lambda args, values: {"operation": "days_between", "date": values[-1], "arguments": {"other": values[args["other"]]}},
        read=lambda args, values, text: int(result_of(text, "days_between")),
        en="the number of days between {other} and {x}", zh="{other} 与 {x} 之间相差的天数",
    )  # fmt: skip


TABLE = {
    operator.name: operator
    for operator in (
        _operator("add_days", "the date {n} days after {x}", "{x} 之后 {n} 天的日期", lambda rng: {"n": rng.randint(20, 900)}),
        _operator("subtract_weeks", "the date {n} weeks before {x}", "{x} 之前 {n} 周的日期", lambda rng: {"n": rng.randint(3, 80)}),
        _operator("end_of_month", "the last day of the month of {x}", "{x} 所在月份的最后一天"),
        _operator("years_later", "the same day of the year {n} years after {x}", "{x} 之后 {n} 年的同月同日", lambda rng: {"n": rng.randint(2, 40)}),
        _operator("weekday_after", "the first {weekday} after {x}", "{x} 之后的第一个{weekday_said}", lambda rng: {"weekday": rng.choice(WEEKDAYS)}),
        _operator("kth_weekday", "{weekday} number {k} of the month of {x}", "{x} 所在月份的第 {k} 个{weekday_said}",
                  lambda rng: {"k": rng.randint(1, 4), "weekday": rng.choice(WEEKDAYS)}),
        _operator("day_of_year", "the number of {x} within its year (1 January is 1)", "{x} 是当年的第几天（1 月 1 日为 1）", gives="count"),
        _days_between(),
    )
}  # fmt: skip


# The verifier -------------------------------------------------------------------------------------------------------------


def to_number(date: str) -> int:
    """The days since 1 March of year 0, by the civil calendar's arithmetic (no `datetime`)."""
    year, month, day = (int(part) for part in date.split("-"))
    year, month = (year, month - 3) if month > 2 else (year - 1, month + 9)
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * month + 2) // 5 + day - 1


def to_date(number: int) -> str:
    """The other way round, by looking: the year, then the month, then the day."""
    year = number // 366
    while to_number(f"{year + 1}-01-01") <= number:
        year += 1
    month = max(m for m in range(1, 13) if to_number(f"{year}-{m}-01") <= number)
    return f"{year:04}-{month:02}-{number - to_number(f'{year}-{month}-01') + 1:02}"


class CalendarVerifier:
    """Recomputes chains of dates by counting days."""

    name = "calendar/day-count@1"

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The start is a date that the question states."""
        if to_date(to_number(start["value"])) != start["value"]:
            raise Unprovable(f"{start['value']} is no date")
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """One hop."""
        number = to_number(values[-1])
        year, month, day = values[-1].split("-")
        first = to_number(f"{year}-{month}-01")
        # day number 0 was a Wednesday (1 March of year 0 in the civil calendar)
        weekday = WEEKDAYS.index(args["weekday"]) if "weekday" in args else 0
        match op:
            case "add_days":
                return to_date(number + args["n"])
            case "subtract_weeks":
                return to_date(number - args["n"] * 7)
            case "end_of_month":
                following = f"{int(year) + (month == '12')}-{int(month) % 12 + 1}-01"
                return to_date(to_number(following) - 1)
            case "years_later":
                if (month, day) == ("02", "29"):
                    raise Unprovable("29 February does not come every year")
                return f"{int(year) + args['n']:04}-{month}-{day}"
            case "weekday_after":
                return to_date(next(n for n in range(number + 1, number + 8) if (n + 2) % 7 == weekday))
            case "kth_weekday":
                return to_date([n for n in range(first, first + 35) if (n + 2) % 7 == weekday][args["k"] - 1])
            case "day_of_year":
                return number - to_number(f"{year}-01-01") + 1
            case "days_between":
                return abs(number - to_number(values[args["other"]]))
        raise Unprovable(f"no second way is known for '{op}'")

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """Dates at other distances."""
        return (
            [to_date(to_number(values[-1]) + days) for days in (-400, -45, -9, 8, 40, 365)] if isinstance(values[-1], str) else []
        )


# The environment ----------------------------------------------------------------------------------------------------------

CHINESE = dict(zip(WEEKDAYS, ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"), strict=True))


class CalendarEnvironment:
    """Dates and a calendar."""

    name = "calendar"
    concurrent = False
    operators = TABLE
    frames = {
        "en": {
            "start": "Let {v} be the date {value}.",
            "hop": "Let {v} be {phrase}.|Call {phrase} {v}.",
            "ask": "What is {v}? (dates as YYYY-MM-DD)",
        },
        "zh": {
            "start": "设 {v} 为日期 {value}。",
            "hop": "设 {v} 为{phrase}。",
            "ask": "{v} 是什么？（日期写作 YYYY-MM-DD）",
            **{f"word:{name}": said for name, said in CHINESE.items()},
        },
    }  # fmt: skip
    versions = {"calendar": "1"}

    def __init__(self) -> None:
        self.verifier = CalendarVerifier()
        self.tools = {
            "calendar": Tool(
                name="calendar",
                description=f"Calculates with dates. Operations: {', '.join(OPERATIONS)}.",
                parameters={
                    "type": "object",
                    "properties": {
                        "operation": {"enum": list(OPERATIONS)},
                        "date": {"type": "string"},
                        "arguments": {"type": "object"},
                    },
                    "required": ["operation", "date", "arguments"],
                },
                call=calendar,
            )
        }
        self.replay_tools = self.tools

    def start(self, seed: str, rng: random.Random) -> Start:
        """The date in the seed, else a day of the year it names, else any day."""
        stated = re.search(r"\b(1[6-9]\d\d|20\d\d)-(\d\d)-(\d\d)\b", seed)
        if stated and to_date(to_number(stated[0])) == stated[0]:
            return Start(kind="date", value=stated[0], match="text")
        year = re.search(r"(?<!\d)(1[6-9]\d\d|20\d\d)(?!\d)", seed)
        number = to_number(f"{year[0] if year else rng.randint(1900, 2030)}-01-01") + rng.randrange(365)
        return Start(kind="date", value=to_date(number), match="keyword" if year else "fallback")

    def close(self) -> None:
        """Nothing to let go of."""


def open_environment() -> CalendarEnvironment:
    """The environment; keyword arguments would be its settings."""
    return CalendarEnvironment()
