"""Options that give nothing away: how often each value is shown against how often it is right.

Questions about failures are lopsided: a model that says "upright" too often fails where something is not upright, so "upright" is
hardly ever the right answer, and a guesser that knows this needs no picture. So over a family of questions, every
value should be shown as a wrong option three times as often as it is right (among four options), and stated falsely as often as
truly (in yes/no questions). `Survey` counts what there is; `Plan` holds probabilities that reach this on average; each question
then draws with its own hash. So nothing depends on order, shards or workers.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from random import Random
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from millrace.qa.writing.answer_vocabulary import NONE
from millrace.qa.writing.case import Choice, has_options

MOST = {"multiple_choice": 1 / 4, "yes_no": 1 / 2, "fill_in_blank": 0.4}
"""The largest share of a family's questions of one form that may have the same right value.

Above a quarter, a value is right too often to be shown three times as often as a wrong option; above a half, it can't be stated
falsely as often as truly. For gaps it bounds what always naming the commonest answer achieves.
"""


class Cell(NamedTuple):
    """Failures that are alike as far as options go."""

    family: str
    right: str
    wrong: tuple[str, ...]
    baseline: str | None
    options: bool
    """Four options can be made."""
    sole: bool
    """A gap can be filled in one way only."""
    presence: bool
    """It can be asked whether the subject is there."""


Survey = Counter[Cell]
"""How many failures of each kind there are. Surveys of shards add up."""


def cell_of(choice: Choice) -> Cell:
    """The cell that a failure is counted in."""
    reading = choice.reading
    wrong = tuple(sorted(reading.wrong))
    sole = reading.sole and choice.right != NONE
    return Cell(reading.family, choice.right, wrong, choice.baseline, has_options(reading), sole, reading.presence)


class Draw(msgspec.Struct):
    """How wrong values are drawn in one family for one form of question."""

    weights: dict[str, float]
    """Logarithms; a set of values is drawn with a probability proportional to the product of its weights."""
    own: dict[str, float]
    """The baseline's own wrong answer, by value: the chance that it is among the options."""

    def pick(self, wrong: Iterable[str], baseline: str | None, count: int, rng: Random) -> list[str]:
        """`count` of the `wrong` values, the baseline's own answer among them where that gives nothing away."""
        values = sorted(wrong)
        forced = baseline if baseline in values and rng.random() < self.own.get(str(baseline), 1.0) else None
        subsets = [subset for subset in combinations(values, count) if forced is None or forced in subset]
        logs = [sum(self.weights.get(value, 0.0) for value in subset) for subset in subsets]
        top = max(logs)
        return list(rng.choices(subsets, [math.exp(log - top) for log in logs])[0])


class Family(msgspec.Struct):
    """The plan for one family of questions."""

    forms: dict[str, dict[str, float]]
    """Form → right value → the chance that a failure with this right value is asked in this form, where it can be."""
    draws: dict[str, Draw]
    """Form → how its wrong values are drawn."""


class Plan(msgspec.Struct):
    """How every family of questions is balanced."""

    families: dict[str, Family]

    def family(self, name: str) -> Family:
        """The plan of a family; one without preferences for a family that the survey did not meet."""
        return self.families.get(name) or Family({}, {})


def make_plan(survey: Mapping[Cell, int], shares: Mapping[str, float], *, capping: bool = True) -> Plan:
    """Find the probabilities for all families.

    Args:
        survey: the counts over the whole selection.
        shares: the wanted share of each form (`QuestionTypeRatio.shares`).
        capping: whether values that are right too often may cost questions; False keeps them all, lopsided or not.
    """
    by_family: dict[str, dict[Cell, int]] = defaultdict(dict)
    for cell, count in sorted(survey.items(), key=lambda entry: str(entry[0])):
        by_family[cell.family][cell] = count
    return Plan({name: _plan_family(cells, shares, capping) for name, cells in by_family.items()})


def _plan_family(cells: Mapping[Cell, int], shares: Mapping[str, float], capping: bool) -> Family:
    forms: dict[str, dict[str, float]] = {}
    left = {cell: float(count) for cell, count in cells.items()}
    draws: dict[str, Draw] = {}
    for form in ("multiple_choice", "yes_no", "fill_in_blank"):
        later = {"multiple_choice": ("yes_no", "fill_in_blank"), "yes_no": ("fill_in_blank",), "fill_in_blank": ()}[form]
        able: dict[Cell, float] = {}
        for cell, amount in left.items():
            if not _able(cell, form) or not shares[form]:
                continue
            rivals = sum(shares[other] for other in later if _able(cell, other))
            able[cell] = amount * shares[form] / (shares[form] + rivals)
        wanted: dict[str, float] = defaultdict(float)
        for cell, amount in able.items():
            wanted[cell.right] += amount
        allowed = capped(wanted, MOST[form]) if capping else dict(wanted)
        kept = {value: allowed[value] / amount if amount else 0.0 for value, amount in wanted.items()}
        pool: dict[str, float] = defaultdict(float)
        for cell, amount in left.items():
            pool[cell.right] += amount if cell in able else 0.0
        forms[form] = {value: allowed[value] / pool[value] if pool[value] else 0.0 for value in wanted}
        used = {cell: amount * kept[cell.right] for cell, amount in able.items()}
        for cell, amount in used.items():
            left[cell] = max(0.0, left[cell] - amount)  # a used-up cell may be left with -1e-16, which is no failure
        if form == "multiple_choice":
            draws[form] = fit(used, 3)
        elif form == "yes_no":
            stating: dict[Cell, float] = defaultdict(float)
            for cell, amount in used.items():
                stating[_stating(cell)] += amount
            draws[form] = fit(stating, 1)
    forms |= _presence(left, shares)
    return Family(forms, draws)


def _able(cell: Cell, form: str) -> bool:
    if form == "multiple_choice":
        return cell.options
    return cell.sole if form == "fill_in_blank" else cell.right != NONE and bool(stated(cell.wrong))


def stated(wrong: Iterable[str]) -> list[str]:
    """The wrong values that a yes/no question can state: all but "it isn't there"."""
    return sorted(value for value in wrong if value != NONE)


def _stating(cell: Cell) -> Cell:
    return cell._replace(wrong=tuple(stated(cell.wrong)), baseline=None if cell.baseline == NONE else cell.baseline)


def _presence(left: Mapping[Cell, float], shares: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Of subjects that are not there and find no other form: "is there …?", balanced by ones wrongly said not to be there."""
    absent = sum(amount for cell, amount in left.items() if cell.presence and cell.right == NONE)
    denied = sum(amount for cell, amount in left.items() if cell.presence and cell.baseline == NONE)
    both = min(absent, denied)
    if not both or not shares["yes_no"]:
        return {}
    return {"presence": {"absent": both / absent, "denied": both / denied}}


def capped(wanted: Mapping[str, float], most: float) -> dict[str, float]:
    """Cut amounts so that none is more than `most` of their sum, with the slack that chance has in a set of this size.

    The slack, one standard deviation of a share, keeps small families from being cut to nothing for what chance explains.
    """
    total = sum(wanted.values())
    if not total:
        return dict(wanted)
    limit = min(1.0, most + math.sqrt(most * (1 - most) / total))
    low, high = 0.0, max(wanted.values())
    for _ in range(60):  # the largest cap that its own sum allows: bisection, since the sum grows slower than the cap
        cap = (low + high) / 2
        low, high = (cap, high) if cap <= limit * sum(min(amount, cap) for amount in wanted.values()) + 1e-9 else (low, cap)
    return {value: min(amount, low) for value, amount in wanted.items()}


ROUNDS = 120
"""Rounds of fitting: far more than the smallest families need, and still milliseconds for the largest."""


def fit(cells: Mapping[Cell, float], count: int) -> Draw:
    """Weights under which every value is expected as a wrong option `count` times as often as it is right.

    Iterative proportional fitting over the exact probabilities of all sets of `count` values; what can't be reached (a value that
    is never right but must fill a set) is approached.
    """
    values = sorted({value for cell in cells for value in (*cell.wrong, cell.right)})
    place = {value: number for number, value in enumerate(values)}
    target, own = np.zeros(len(values)), np.zeros(len(values))
    amounts: dict[tuple[tuple[str, ...], str | None], float] = defaultdict(float)
    for cell, amount in cells.items():
        if len(cell.wrong) < count or not amount:
            continue
        target[place[cell.right]] += count * amount
        amounts[cell.wrong, cell.baseline] += amount
        if cell.baseline is not None:
            own[place[cell.baseline]] += amount
    share = np.minimum(1.0, 0.95 * target / np.maximum(own, 1e-9))
    sets = {wrong: _subsets(wrong, count, place) for wrong, _ in amounts}
    logs = np.zeros(len(values))
    for _ in range(ROUNDS):
        expected = np.zeros(len(values))
        for (wrong, baseline), amount in amounts.items():
            chance = _softmax(sets[wrong] @ logs)
            if baseline is None:
                expected += amount * (chance @ sets[wrong])
                continue
            at = place[baseline]
            with_own = chance * sets[wrong][:, at]
            expected += amount * share[at] * (with_own @ sets[wrong]) / with_own.sum()
            expected += amount * (1 - share[at]) * (chance @ sets[wrong])
        logs = np.clip(logs + 0.5 * (np.log(target + 0.1) - np.log(expected + 0.1)), -8, 8)
    return Draw(
        {value: round(float(logs[place[value]]), 4) for value in values},
        {value: round(float(share[place[value]]), 4) for value in values if own[place[value]]},
    )


def _subsets(wrong: tuple[str, ...], count: int, place: Mapping[str, int]) -> NDArray[np.float64]:
    """All sets of `count` values as rows of zeros and ones."""
    subsets = list(combinations(wrong, count))
    rows = np.zeros((len(subsets), len(place)))
    for row, subset in enumerate(subsets):
        rows[row, [place[value] for value in subset]] = 1
    return rows


def _softmax(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    chance = np.exp(logs - logs.max())
    result: NDArray[np.float64] = chance / chance.sum()
    return result
