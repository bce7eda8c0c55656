"""Scores an answer by its type: what is the same answer written otherwise is paid, and nothing else is.

| type | the same means |
|---|---|
| integer, fraction | the same number, exactly, however it is written |
| decimal | within half a unit of the last place that the true answer shows |
| text | the same characters; signs around the whole are no part of it |
| term | as text; `len` for `len()`, `PEP-560` or `560` for `PEP 560`, `version 3.7` for `3.7`, a title without its marks |
| name, document, code | as text, and neither case nor spaces count |
| list | the same entries in the same order |
| set | the same entries in any order |
| date, coordinate | the same day, the same place on its axis |
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from fractions import Fraction

from millrace.synthesis.scoring.extraction import candidates
from millrace.synthesis.scoring.numbers import number
from millrace.synthesis.scoring.places_and_dates import date_of, same_coordinate, seconds_of_arc

MAX_RESPONSE_CHARS = 200_000
"""Of a longer response only the end is read: that is where the answer stands."""


def score_answer(answer_type: str, true: str, response: str, aliases: Iterable[str] = ()) -> float:
    """1.0 when a response gives the true answer, else 0.0.

    Args:
        answer_type: a key of `SCORERS`.
        true: the answer as the record has it.
        response: what a model wrote, with or without words around its answer.
        aliases: other spellings that are right too.

    Raises:
        ValueError: there is no such type.
    """
    if answer_type not in SCORERS:
        raise ValueError(f"no scorer for answers of type '{answer_type}'; known: {', '.join(sorted(SCORERS))}")
    same = SCORERS[answer_type]
    wanted = [true, *aliases]
    return float(any(same(right, said) for said in candidates(response[-MAX_RESPONSE_CHARS:]) for right in wanted))


def type_of(value: object) -> str:
    """The type of an answer for which an environment names none, by its form."""
    if isinstance(value, bool):
        return "text"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "decimal"
    if isinstance(value, list):
        return "list"
    text = str(value)
    if re.fullmatch(r"-?\d+/\d+", text):
        return "fraction"
    if re.search(r"°.*[NSEW]$", text) and seconds_of_arc(text) is not None:
        return "coordinate"
    return "date" if re.fullmatch(r"\d{4}-\d\d-\d\d", text) and date_of(text) else "text"


def type_of_text(answer: str) -> str:
    """The type of an answer that somebody wrote as text."""
    value = number(answer)
    if value is None:
        return type_of(answer)
    if value.denominator == 1:
        return "integer"
    return "fraction" if re.fullmatch(r"\D*\d+\s*[/⁄]\s*\d+\D*", answer) else "decimal"


def aliases_of(answer_type: str, answer: str) -> list[str]:
    """Other common spellings of an answer, for scorers that only compare strings."""
    found: list[str] = []
    if answer_type == "integer" and len(answer.lstrip("-")) > 3:
        found = [f"{int(answer):,}"]
    if answer_type == "fraction":
        top, _, bottom = answer.partition("/")
        found = [f"{top} / {bottom}", f"\\frac{{{top}}}{{{bottom}}}"] if not top.startswith("-") else [f"{top} / {bottom}"]
    if answer_type == "coordinate":
        found = [answer.replace("′", "'").replace("″", '"'), re.sub(r"[°′″]", " ", answer)]
    if answer_type == "term":
        found = sorted(_spellings(answer) - {answer})
    if answer_type == "date" and (day := date_of(answer)):
        found = [f"{day:%B} {day.day}, {day.year}", f"{day.day} {day:%B} {day.year}", f"{day.year}年{day.month}月{day.day}日"]
    return [alias for alias in found if alias != answer]


def _same_number(true: str, said: str) -> bool:
    wanted = number(true)
    return wanted is not None and number(said) == wanted


def _same_decimal(true: str, said: str) -> bool:
    wanted, given = number(true), number(said)
    if wanted is None or given is None:
        return False
    places = len(true.partition(".")[2]) if "e" not in true.lower() else 0
    return abs(wanted - given) <= Fraction(1, 2 * 10**places)


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


def _same_text(true: str, said: str) -> bool:
    return bool(said) and _plain(true) == _plain(said)


def _spellings(term: str) -> set[str]:
    """The ways to write a term that nobody could take for another one."""
    found = {term}
    if term.endswith("()"):
        found.add(term[:-2])
    if match := re.fullmatch(r"PEP (\d+)", term):
        found |= {match[1], f"PEP{match[1]}", f"PEP-{match[1]}", f"pep {match[1]}"}
    if re.fullmatch(r"\d+\.\d+", term):
        found |= {f"version {term}", f"Version {term}", f"v{term}", f"Python {term}"}
    if re.fullmatch(r"《.+》", term):
        found.add(term[1:-1])
    return found


def _same_term(true: str, said: str) -> bool:
    return _plain(said).replace("\\_", "_") in {_plain(spelling) for spelling in _spellings(true)}


def _loose(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFKC", text)).strip().casefold()


def _same_name(true: str, said: str) -> bool:
    return bool(said) and _loose(true) == _loose(
        re.sub(r"^the (?:zone|entry|region|country) ", "", said.strip(), flags=re.IGNORECASE)
    )


def _same_document(true: str, said: str) -> bool:
    bare = re.sub(r"^(?:the )?(?:document|topic|file|文档|主题)\s*", "", said.strip(), flags=re.IGNORECASE).strip("[]'\"“”‘’` ")
    return bool(bare) and _loose(true) in (_loose(bare), _loose(re.sub(r"\.(?:txt|md|rst|json)$", "", bare)))


def _entries(text: str) -> list[str]:
    text = _plain(text)
    if text[:1] + text[-1:] in ("[]", "()", "{}"):
        text = text[1:-1]
    return [entry.strip().strip("'\"`").strip() for entry in re.split(r"[,，、;；\n]", text) if entry.strip()]


def _same_entry(true: str, said: str) -> bool:
    return _same_text(true, said) or _same_number(true, said)


def _same_list(true: str, said: str) -> bool:
    mine, theirs = _entries(true), _entries(said)
    return bool(mine) and len(mine) == len(theirs) and all(map(_same_entry, mine, theirs))


def _same_set(true: str, said: str) -> bool:
    return _same_list(", ".join(sorted(set(_entries(true)))), ", ".join(sorted(set(_entries(said)))))


def _same_date(true: str, said: str) -> bool:
    day = date_of(true)
    return day is not None and date_of(said) == day


SCORERS: dict[str, Callable[[str, str], bool]] = {
    "integer": _same_number,
    "fraction": _same_number,
    "decimal": _same_decimal,
    "text": _same_text,
    "term": _same_term,
    "name": _same_name,
    "code": _same_name,
    "document": _same_document,
    "list": _same_list,
    "set": _same_set,
    "date": _same_date,
    "coordinate": same_coordinate,
}
"""Type → whether two spellings are the same answer."""
