"""Whether an observation says an answer: as a value of its own, of the answer's type, and not by its characters.

What a calculator, an interpreter or an algebra system answers (`expression = value`) has values and nothing else: what stands in
the expression was asked for and not found. Any other observation is text. In a text a number counts with its sign, its fraction,
its unit; a word or phrase counts whole; neither counts where the sentence denies it. A word without content ("a", "the"), which
stands in every text, says nothing.

Covers: digits inside other numbers, dates, versions and names; `-5` for 5; `5 km` for 5 m or plain 5; `2.5`, `1/5`, `5 %`; parts
of words; "not Paris", "Paris is not", the same in Chinese. Does not cover: what only understanding tells (irony, a condition,
"was thought to be"), and whether the answer is the one to the question: for that a program or a judge is needed.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from millrace.synthesis.scoring.answers import score_answer, type_of_text
from millrace.synthesis.scoring.numbers import number
from millrace.synthesis.scoring.places_and_dates import date_of

UNITS = (
    "km|m|cm|mm|µm|μm|nm|mi|ft|yd|kg|g|mg|µg|μg|lbs?|oz|t|l|ml|s|sec|ms|µs|μs|ns|min|h|hz|khz|mhz|ghz|kb|mb|gb|tb|kib|mib|gib|tib"
    "|w|kw|mw|gw|kwh|v|kv|j|kj|mj|pa|kpa|mpa|hpa|°c|°f|°|%|‰|percent|per cent|usd|eur|gbp|million|billion|trillion|thousand"
    "|hundred|dozen|米|公里|千米|厘米|毫米|克|千克|公斤|吨|元|美元|万|亿|千|百|度|摄氏度"
)
"""Signs that change what a number before them means. Words behind a number ("24 blades", "3 years") are what is counted."""

NUMBER = re.compile(
    r"(?<![\w.–~-])(?<!\d[,:])(?<!\w/)(?<!\d[\u00a0 ])"
    r"(?P<number>[-+−]?(?:[$€£¥]\s?)?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?(?:\s?[/⁄]\s?\d+)?)"
    rf"(?![\d/:~–]|-\d|[.,]\d)(?:[\u00a0 ]?(?P<unit>{UNITS})(?![a-zA-Z]))?(?![A-Za-z_])",
    re.IGNORECASE,
)
QUANTITY = re.compile(rf"(?P<number>[-+−]?(?:[$€£¥]\s?)?[\d.,/⁄eE+−-]*\d)\s?(?P<unit>{UNITS})?\.?", re.IGNORECASE)

EMPTY_WORDS = (
    "a an the of in on at to for from by with and or not no is are was were be been it its this that these those as if than then "
    "so such i you he she we they there here 的 了 是 在 和 与 或 不 也 都 就 有 之 为 以 于 而 这 那 它 他 她 我 你 们 个 一"
)
EMPTY = frozenset(EMPTY_WORDS.split())
"""Words that stand in every text."""

BEFORE = re.compile(
    r"(?:\b(?:not(?!\s+(?:only|just|merely)\b)|never|no|nor|neither|without|except|excluding|unlike|cannot|rather than"
    r"|instead of|other than)|n['’]t)"
    r"(?:\s+[\w'’]+){0,3}\s*[\"'“‘(*_`\[]*$|(?:不是|并非|不为|没有|而非|并不|不在|不叫|未|非|除了|除)[\s“‘《\[]*$",
    re.IGNORECASE,
)
BEHIND = re.compile(
    r"^[\"'”’)*_`\]]*\s+(?:(?:is|are|was|were|does|do|did|has|have|had|can|could|will|would|should|must|may|might)"
    r"(?:\s+\w+ly)?(?:\s+not\b|\s+never\b|\s+no\b|n['’]t\b)|cannot\b|never\b)|^[”’》\])\s]*(?:不是|并非|并不|没有|不在|未|不能|不会)",
    re.IGNORECASE,
)
"""Behind a word, what denies it; both look no further than the clause."""

CLAUSE = re.compile(r"[.!?;:,。！？；：，、\n]\s|[。！？；：，、\n]|\bbut\b|\bhowever\b|但|而是", re.IGNORECASE)
DAY = re.compile(
    r"\b\d{4}\s*[-/.年]\s*\d{1,2}\s*[-/.月]\s*\d{1,2}\s*[日号]?|\b[A-Z][a-z]{2,8}\.?\s+\d{1,2}(?:st|nd|rd|th)?,?\s+\d{4}\b"
    r"|\b\d{1,2}(?:st|nd|rd|th)?\.?\s+(?:of\s+)?[A-Z][a-z]{2,8}\.?,?\s+\d{4}\b"
)
CLAUSE_CHARS = 80
"""How much of a clause on each side of a word is looked at."""

MAX_TEXT = 200_000
"""A longer observation is looked at so far."""


def entailed(answer: str, observations: Iterable[tuple[str, Mapping[str, Any]]]) -> bool:
    """Whether one of the observations says the answer.

    Args:
        answer: the short answer.
        observations: what a tool answered, and the arguments that it was called with.
    """
    return any(_said(answer, text[:MAX_TEXT], parameters) for text, parameters in observations)


def entailed_by_text(answer: str, text: str) -> bool:
    """Whether a piece of text says the answer."""
    return bool(answer.strip()) and _in_text(answer.strip(), text[:MAX_TEXT])


def _said(answer: str, text: str, parameters: Mapping[str, Any]) -> bool:
    values = values_of(text, parameters)
    if values is None:
        return entailed_by_text(answer, text)
    return any(_is_value(answer, value) for value in values)


def values_of(text: str, parameters: Mapping[str, Any]) -> list[str] | None:
    """The values of an observation that consists of values; None: it is a text."""
    expressions = parameters.get("expressions")
    if isinstance(expressions, list):
        heads = [f"{expression} = " for expression in expressions]
        pieces = [text[place + len(head) :] for head in heads if (place := _begins(text, head)) >= 0]
        printed = re.findall(r"^printed: (.*)$", text, re.MULTILINE)
        return [piece.split("\n", 1)[0] for piece in pieces] + printed
    if "operation" in parameters:
        return [line.rpartition(" = ")[2] for line in text.splitlines() if " = " in line]
    return None


def _begins(text: str, head: str) -> int:
    """Where a line begins with `head`; -1: none does."""
    return 0 if text.startswith(head) else found + 1 if (found := text.find("\n" + head)) >= 0 else -1


def _is_value(answer: str, value: str) -> bool:
    if value.startswith("ERROR"):
        return False
    leaves = [value, *_leaves(value)]
    kind = type_of_text(answer)
    if value[:1] in ("[", "(") and score_answer("list", value, answer) == 1:
        return True
    return any(score_answer(type_of_text(leaf) if kind == "text" else kind, leaf, answer) == 1 for leaf in leaves if leaf)


def _leaves(value: str) -> Iterator[str]:
    """What stands in a Python value: the text of a string, the entries of a list."""
    try:
        waiting = [ast.literal_eval(value)]
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            waiting += part
        else:
            yield str(part)


def _in_text(answer: str, text: str) -> bool:
    if date_of(answer) is not None:
        return any(score_answer("date", answer, found.group()) == 1 and not _denied(text, found) for found in DAY.finditer(text))
    quantity = QUANTITY.fullmatch(_plain(answer))
    if quantity is not None and number(_amount(quantity["number"])) is not None:
        plain = unicodedata.normalize("NFC", text)
        return any(_same_quantity(quantity, found) and not _denied(plain, found) for found in NUMBER.finditer(plain))
    return _phrase_stands(answer, text)


def _same_quantity(wanted: re.Match[str], found: re.Match[str]) -> bool:
    mine, theirs = number(_amount(wanted["number"])), number(_amount(found["number"]))
    if mine is None or mine != theirs or _currency(wanted["number"]) != _currency(found["number"]):
        return False
    return _unit(wanted["unit"]) == _unit(found["unit"])


def _amount(text: str) -> str:
    return re.sub(r"[$€£¥]\s?", "", text).replace(",", "")


def _currency(text: str) -> str:
    return "".join(re.findall(r"[$€£¥]", text))


def _unit(text: str | None) -> str:
    """One name for the spellings of a unit; case tells `mW` from `MW`."""
    unit = text or ""
    return {"percent": "%", "per cent": "%"}.get(unit.lower(), unit.lower().rstrip("s") if len(unit) > 3 else unit)


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def _phrase_stands(answer: str, text: str) -> bool:
    wanted = _plain(answer).rstrip(".。").casefold()
    words = re.findall(r"\w+", wanted)
    if not words or all(word in EMPTY for word in words) or (len(wanted) < 2 and not wanted.isdigit()):
        return False
    head = r"(?<!\w)(?<!\w[-'’])" if wanted[:1].isalnum() and not _cjk(wanted[0]) else ""
    tail = r"(?!\w)(?!-\w|['’](?!s\b)\w)" if wanted[-1:].isalnum() and not _cjk(wanted[-1]) else ""
    pattern = head + r"\s+".join(re.escape(part) for part in wanted.split(" ")) + tail
    plain = unicodedata.normalize("NFC", text).casefold()
    return any(not _denied(plain, found) for found in re.finditer(pattern, plain))


def _cjk(sign: str) -> bool:
    return "\u3400" <= sign <= "\u9fff"


def _denied(text: str, found: re.Match[str]) -> bool:
    """Whether the clause around a match says that it is not so."""
    before = text[max(0, found.start() - CLAUSE_CHARS) : found.start()]
    behind = text[found.end() : found.end() + CLAUSE_CHARS]
    before = CLAUSE.split(before)[-1]
    behind = CLAUSE.split(behind, maxsplit=1)[0]
    return bool(BEFORE.search(before) or BEHIND.search(behind))
