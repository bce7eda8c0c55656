"""What a foreign training prints: which of its lines ends an epoch, and where its metrics stand. Found by looking, never trusted.

The rules, the first that fits: a numbered line with metrics that comes once in each epoch; a line with metrics, without a number,
that comes once between two numbered ones (Keras, a test's line after the batches'); the last of the numbered lines of batches; a
numbered line alone; lines with metrics that come again and again (steps, fractions of an epoch), each of which is then counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Literal

FIGURE = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_EPOCH = re.compile(rf"\bepochs?\b['\"]?[\s:=#\[(]*({FIGURE})(?:\s*/\s*(\d+))?", re.IGNORECASE)
EPOCH_PATTERN = r"\bepochs?\b['\"]?[\s:=#\[(]*(\d+)(?![\d.])"
_COUNTER = re.compile(r"(\d+)\s*/\s*(\d+)")
_TEXT_OF_A_BAR = re.compile(r"\|[\s\u2580-\u259f]*\||[\u2580-\u259f]+|[#=>.\-]{3,}")
_PLACE = "\x00"
"""Stands for a figure in a line's form."""

SPLITS = ("train", "training", "val", "valid", "validation", "test", "eval", "dev")
_METRIC = re.compile(
    rf"(?<![\w.@/-])(?:(?P<split>{'|'.join(SPLITS)})[ ]+(?:set:\s*)?)?(?P<name>[A-Za-z][\w@.-]*)(?P<mark>['\"]?\s*[:=]\s*|\s+)"
    rf"(?P<value>{FIGURE})(?P<ratio>/\d+\s*\((?P<share>{FIGURE})\s*%\))?(?![\w/])",
    re.IGNORECASE,
)
QUALITY = re.compile(
    r"loss|acc|top\W?\d|prec|recall|f1|auc|map|iou|dice|bleu|rouge|perplexity|ppl|rmse|mae|mse|r2|score|error|wer|cer|psnr|ssim|rank",
    re.IGNORECASE,
)
"""Words in a metric's name that make it one also without a colon or an equals sign."""
NO_METRIC = re.compile(
    r"^(?:global_?)?(?:epochs?|steps?|iter(?:ation)?s?|batch(?:es)?|time|eta|elapsed|lr|learning_?rate|data|seed|rank|world_?size|"
    r"gpu|cuda|mem(?:ory)?|samples?|tokens?|num\w*|total|wd|momentum|runtime|duration|speed|throughput|\w*_per_second|"
    r"\w*_(?:runtime|time|s|ms|steps?|samples)|version|port|pid|line|workers?|size)$",
    re.IGNORECASE,
)
"""Names of figures that say nothing about the model."""
ENOUGH_LINES = 2
"""So many lines of one form are needed before it is taken for one that comes again."""


@dataclass(frozen=True)
class Printed:
    """What was found. Patterns are those of `External`."""

    unit: Literal["epoch", "line", "nothing"]
    """What the comparison counts: epochs, or lines of one form; nothing: no line comes again."""
    epoch: str | None = None
    """The pattern of the line that ends one."""
    ready: str | None = None
    """The pattern of the line with which training begins; None: the epochs say it."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Pattern by metric."""
    line: str = ""
    """The last line that the pattern fits, as it was printed."""
    values: dict[str, float] = field(default_factory=dict)
    """The metrics' last values."""
    seen: int = 0
    """So many epochs or lines were seen."""
    every_s: float | None = None
    """The time between two of them, the median, in seconds; None: there were not two."""
    of: int | None = None
    """How many epochs there will be, where the lines say so ("3/10")."""


@dataclass(frozen=True)
class _Line:
    number: int
    t: float
    text: str
    form: str
    epoch: float | None
    of: int | None


def find(lines: Sequence[tuple[float, str]], ended: bool = False) -> Printed:
    """What `lines`, each with the time of its coming in seconds, say about the program.

    Args:
        lines: as a terminal shows them (`observation.shown_lines`).
        ended: the program has ended after the last of them.
    """
    read = [_read(number, t, text) for number, (t, text) in enumerate(lines)]
    forms: dict[str, list[_Line]] = defaultdict(list)
    for line in read:
        forms[line.form].append(line)
    numbered = [line for line in read if line.epoch is not None]
    if any(line.epoch != int(line.epoch) for line in numbered if line.epoch is not None):
        numbered = []  # fractions of an epoch: each line is one of many
    chosen = (
        _once_with_metrics(forms, numbered)
        or _between(read, forms, numbered)
        or _last_batch(forms, numbered)
        or _number_alone(forms, numbered, read, ended)
        or _again_and_again(forms)
    )
    if chosen is None:
        return Printed("nothing", metrics=_metrics(read), values=_values(read))
    unit, epoch, ready, places = chosen
    steps = [after.t - before.t for before, after in pairwise(places)]
    return Printed(
        unit=unit,
        epoch=epoch,
        ready=ready,
        metrics=_metrics(read),
        line=places[-1].text.strip(),
        values=_values(read),
        seen=len(places),
        every_s=median(steps) if steps else None,
        of=max((line.of for line in numbered if line.of), default=None),
    )


_Chosen = tuple[Literal["epoch", "line"], str, str | None, list[_Line]]


def _read(number: int, t: float, text: str) -> _Line:
    found = _EPOCH.search(text)
    plain = _TEXT_OF_A_BAR.sub("", text)
    form = re.sub(r"\s+", " ", re.sub(FIGURE, _PLACE, plain, flags=re.IGNORECASE)).strip()
    epoch = float(found[1]) if found else None
    return _Line(number, t, text, form, epoch, int(found[2]) if found and found[2] else None)


def _once_with_metrics(forms: dict[str, list[_Line]], numbered: Sequence[_Line]) -> _Chosen | None:
    """Of the forms that come once for each number, with metrics in them, the one that comes last in an epoch."""
    once = [lines for lines in _of_numbers(forms) if _is_once(lines) and metrics_in(lines[-1].text)]
    if not once:
        return None
    chosen = max(once, key=lambda lines: lines[0].number)
    return "epoch", _numbered(chosen, once_of=numbered), None, chosen


def _numbered(chosen: Sequence[_Line], once_of: Sequence[_Line]) -> str:
    """The pattern of a numbered line; where lines of other forms name the same numbers before it, its own words are in it."""
    first = chosen[0]
    if all(line.form == first.form or line.number > first.number for line in once_of):
        return EPOCH_PATTERN
    start = _EPOCH.search(first.text)
    assert start is not None
    after = re.findall(r"(?<!\w)[A-Za-z]{3,}(?!\w)", first.text[start.end() :])
    before = first.text[: start.start()].split()[-1:]
    words = f"{re.escape(before[0])}\\s+" if before and not re.search(r"\d", before[0]) else ""
    return f"{words}{EPOCH_PATTERN}" + (f".*?\\b{after[0]}" if after else "")


def _between(read: Sequence[_Line], forms: dict[str, list[_Line]], numbered: Sequence[_Line]) -> _Chosen | None:
    """A line with metrics and no number of its own that comes once between the beginnings of two epochs."""
    begins = [line.number for line in _firsts(numbered)]
    if not begins:
        return None
    whole = list(pairwise(begins))
    candidates = []
    for lines in forms.values():
        if lines[0].epoch is not None or not metrics_in(lines[-1].text) or lines[0].number < begins[0]:
            continue
        counts = [sum(start < line.number < stop for line in lines) for start, stop in whole]
        if len(lines) >= ENOUGH_LINES and whole and set(counts) == {1}:
            candidates.append(lines)
    if not candidates:
        return None
    chosen = max(candidates, key=lambda lines: lines[0].number)
    return "epoch", pattern_of(chosen[-1].text), EPOCH_PATTERN, chosen


def _last_batch(forms: dict[str, list[_Line]], numbered: Sequence[_Line]) -> _Chosen | None:
    """Lines of batches ("Epoch: [0][ 390/391]"): the one with the highest count of each epoch, which must be the same in all."""
    for lines in _of_numbers(forms):
        highest: dict[float, tuple[int, int, _Line]] = {}
        for line in lines:
            start = _EPOCH.search(line.text)
            count = _COUNTER.search(line.text, start.end()) if start else None
            if count and line.epoch is not None:
                had = highest.get(line.epoch)
                if had is None or int(count[1]) >= had[0]:
                    highest[line.epoch] = (int(count[1]), int(count[2]), line)
        whole = list(highest.values())[:-1]  # the last epoch may not be over
        if len(whole) < ENOUGH_LINES or len({(done, of) for done, of, _ in whole}) != 1 or len(lines) == len(highest):
            continue
        done, of, _ = whole[0]
        places = [line for last, _, line in highest.values() if last == done]
        return "epoch", rf"{EPOCH_PATTERN}.*?(?<!\d){done}\s*/\s*{of}(?!\d)", None, places
    return None


def _number_alone(forms: dict[str, list[_Line]], numbered: Sequence[_Line], read: Sequence[_Line], ended: bool) -> _Chosen | None:
    """A numbered line with nothing else. One that begins an epoch ends the one before, so the first one of all ends none."""
    once = [lines for lines in _of_numbers(forms) if _is_once(lines)]
    if not once:
        return None
    lines = once[0]
    if _begins(lines, read, ended):
        first = re.escape(str(int(lines[0].epoch or 0)))
        return "epoch", EPOCH_PATTERN.replace(r"(\d+)", rf"(?!{first}(?!\d))(\d+)"), EPOCH_PATTERN, lines[1:]
    return "epoch", EPOCH_PATTERN, None, lines


def _begins(lines: Sequence[_Line], read: Sequence[_Line], ended: bool) -> bool:
    """Whether the line stands at an epoch's beginning: by its word, else by what comes between it and the program's end."""
    if re.search(r"\b(?:start|begin)", lines[0].text, re.IGNORECASE):
        return True
    if re.search(r"\b(?:done|finish|complete|end|took)", lines[0].text, re.IGNORECASE):
        return False
    step = median([after.t - before.t for before, after in pairwise(lines)])
    if ended:
        return read[-1].t - lines[-1].t > step / 2
    return lines[0].t - read[0].t < step / 4


def _again_and_again(forms: dict[str, list[_Line]]) -> _Chosen | None:
    """The commonest form with metrics in it."""
    repeated = [lines for lines in forms.values() if len(lines) > ENOUGH_LINES and metrics_in(lines[-1].text)]
    if not repeated:
        return None
    chosen = max(repeated, key=len)
    return "line", pattern_of(chosen[-1].text), None, chosen


def _of_numbers(forms: dict[str, list[_Line]]) -> list[list[_Line]]:
    return [
        lines
        for lines in forms.values()
        if lines[0].epoch is not None and all(line.epoch == int(line.epoch or 0) for line in lines) and len(lines) >= ENOUGH_LINES
    ]


def _is_once(lines: Sequence[_Line]) -> bool:
    return all(
        before.epoch is not None and after.epoch is not None and before.epoch < after.epoch for before, after in pairwise(lines)
    )


def _firsts(numbered: Sequence[_Line]) -> list[_Line]:
    """The first line of each epoch."""
    return [
        line for before, line in zip([None, *numbered], numbered, strict=False) if before is None or before.epoch != line.epoch
    ]


def pattern_of(text: str) -> str:
    """A pattern of the lines of `text`'s form: its words, and any figures; two names in a row are enough to tell it."""
    pieces = [
        piece for piece in re.split(FIGURE, _TEXT_OF_A_BAR.sub("", text), flags=re.IGNORECASE) if re.search(r"[A-Za-z]{2}", piece)
    ]
    return r".*?".join(r"\s+".join(map(re.escape, piece.split())) for piece in pieces[:4])


def metrics_in(text: str) -> dict[str, float]:
    """The metrics that stand in a line, by name, with their values."""
    return {name: value for name, _, value in _metric_places(text)}


def _metric_places(text: str) -> list[tuple[str, str, float]]:
    """Name, pattern and value of each metric in a line."""
    found = []
    for match in _METRIC.finditer(text):
        split, name, mark = match["split"], match["name"], match["mark"]
        told = ":" in mark or "=" in mark
        if NO_METRIC.fullmatch(name) or not (QUALITY.search(name) or (told and "." in match["value"])):
            continue
        if not told and not QUALITY.search(name):
            continue
        value = match["share"] or match["value"]
        label = re.sub(r"\s+", "_", f"{split}_{name}" if split else name).lower()
        figure = rf"{FIGURE}/\d+\s*\(({FIGURE})" if match["share"] else rf"({FIGURE})"
        before = rf"(?<![\w.@/-]){split}\s+(?:set:\s*)?{re.escape(name)}" if split else rf"{_no_split()}{re.escape(name)}"
        found.append((label, rf"{before}(?:['\"]?\s*[:=]\s*|\s+){figure}", float(value)))
    return found


def _no_split() -> str:
    """Stands before a name without a split's: "val loss" is not "loss"."""
    return r"(?<![\w.@/-])" + "".join(rf"(?<!{split} )" for split in SPLITS)


def _metrics(read: Sequence[_Line]) -> dict[str, str]:
    """The pattern of each metric that comes again, or in the last lines."""
    counts: Counter[str] = Counter()
    patterns: dict[str, str] = {}
    for line in read:
        for name, pattern, _ in _metric_places(line.text):
            counts[name] += 1
            patterns[name] = pattern
    often = {name: patterns[name] for name, count in counts.items() if count >= ENOUGH_LINES}
    return often or patterns


def _values(read: Sequence[_Line]) -> dict[str, float]:
    known = _metrics(read)
    found: dict[str, float] = {}
    for line in read:
        found |= {name: value for name, value in metrics_in(line.text).items() if name in known}
    return found
