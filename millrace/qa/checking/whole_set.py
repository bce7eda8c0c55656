"""What only the whole set shows: duplicates, questions that words alone answer, right options that crowd at one place.

A few passes over the accepted shards, and some hundred bytes of memory per question. The result depends on the set alone.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
from msgspec import structs

from millrace.qa.checking.check_shards import rejection
from millrace.qa.checking.question_checks import plain
from millrace.qa.checking.text_only_baseline import SMALLEST_CELL, BlindGuesser, Guess, tally
from millrace.qa.items import KEYS, full_question
from millrace.qa.settings import QaSettings
from millrace.records.question import Item
from millrace.records.summaries import BlindGuess
from millrace.run.ids import fraction_for
from millrace.run.journal import read_records, write_jsonl

Z_FORM, Z_CELL = 1.96, 2.9
"""Standard deviations for a form of question as a whole (95 %), and for one of about twenty groups (as sure over all of them)."""
ROUNDS = 4
"""Times the guesser is trained anew after what it guessed was taken out."""
CROWDED = 7.81
"""Chi-square of three degrees of freedom at 5 %: from here on the right options' places are set right."""


class Settlement(msgspec.Struct):
    """The whole set's account. `seen == kept + sum(dropped.values())`."""

    seen: int
    kept: int
    dropped: dict[str, int]
    blind: dict[str, BlindGuess]
    """Form or pipeline/form, by which guesser: on what was kept."""
    positions: dict[str, int]
    """Key → how often it is right, among the kept multiple-choice questions."""
    moved: int
    """Questions whose options were put in another order after the baseline had been asked."""
    shards: list[str]


def settle(accepted: Sequence[Path], out: Path, rejected: Path, qa: QaSettings) -> Settlement:
    """Look at all accepted questions together, drop what must go, and write the rest to `out`, shard by shard.

    Args:
        accepted: shards from `check_shard`.
        out: the folder for the settled shards, under the same names.
        rejected: the file for what is dropped here.
        qa: the settings.
    """
    lost = find_duplicates(_all(accepted))
    moves = rebalance(item for item in _all(accepted) if item.id not in lost)
    blind, report = find_blind(accepted, lost, moves, drop=qa.blind_check == "drop")
    lost |= blind
    positions: Counter[str] = Counter()
    kept = 0
    shards = []
    for shard in accepted:
        final = [_moved(item, moves.get(item.id)) for item in read_records(shard, Item) if item.id not in lost]
        positions.update(item.answer for item in final if item.question_type == "multiple_choice")
        kept += len(final)
        shards.append(out / shard.name)
        write_jsonl(shards[-1], final)
    write_jsonl(rejected, (rejection(item, *lost[item.id], "settle") for item in _all(accepted) if item.id in lost))
    return Settlement(
        seen=kept + len(lost),
        kept=kept,
        dropped=dict(sorted(Counter(reason for reason, _ in lost.values()).items())),
        blind=dict(sorted(report.items())),
        positions=dict(sorted(positions.items())),
        moved=len(moves.keys() - lost.keys()),
        shards=[str(shard) for shard in shards],
    )


def find_duplicates(items: Iterable[Item]) -> dict[str, tuple[str, str]]:
    """Questions to drop because another says the same: id → (reason, detail). Of two the one with the smaller id stays."""
    signed = [_signed(item) for item in items]
    lost: dict[str, tuple[str, str]] = {}
    for reason, keys in (
        ("duplicate", [(name, exact) for name, exact, _ in signed]),
        ("near_duplicate", [(name, near) for name, _, near in signed]),
    ):
        first: dict[int, str] = {}
        for name, key in keys:
            if name in lost:
                continue
            other = first.setdefault(key, name)
            if other != name:
                keep, drop = sorted((other, name))
                lost[drop] = (reason, f"{keep} asks the same about the same image")
                first[key] = keep
    return lost


def _signed(item: Item) -> tuple[str, int, int]:
    """(id, hash of what is asked word for word, hash of what is asked about)."""
    place = item.image.key
    task = item.task
    exact = [place, plain(item.question), sorted(map(plain, item.options.values()))]
    subject = [task.aspect, task.selectors, task.form] if task.aspect else sorted(set(plain(item.question).split()))
    return item.id, _hash(exact), _hash([place, item.pipeline_name, item.question_type, subject])


def _hash(value: Any) -> int:
    return int.from_bytes(hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=8).digest(), "big")


def find_blind(
    accepted: Sequence[Path], without: Mapping[str, Any], moves: Mapping[str, str], *, drop: bool
) -> tuple[dict[str, tuple[str, str]], dict[str, BlindGuess]]:
    """Questions to drop until the guesser is at chance: (id → (reason, detail), how the guesser does on the rest).

    The questions that it guessed right with the most certainty go first, and no more than needed; then it is trained anew.
    """
    lost: dict[str, tuple[str, str]] = {}
    for number in range(ROUNDS + 1):
        groups = _groups(accepted, {**without, **lost}, moves)
        report = {name: tally(group, z) for name, (group, z) in groups.items()}
        leaking = [name for name, found in report.items() if found.beats_chance]
        if not leaking or not drop or number == ROUNDS:
            break
        for name in leaking:
            group, z = groups[name]
            for guess in offenders(group, z):
                lost[guess.id] = ("blind_answerable", f"guessed from its words alone, as too many of {name} can be")
    return lost, report


def offenders(group: Sequence[Guess], z: float) -> list[Guess]:
    """The surest right guesses, as many as must go for the group to be at chance."""
    right = sorted((guess for guess in group if guess.right), key=lambda guess: (-guess.margin, guess.id))
    left = list(group)
    gone: list[Guess] = []
    while right and tally(left, z).beats_chance:
        step = right[: max(1, len(right) // 50)]
        right = right[len(step) :]
        gone += step
        names = {guess.id for guess in gone}
        left = [guess for guess in group if guess.id not in names]
    return gone


def _groups(accepted: Sequence[Path], lost: Mapping[str, Any], moves: Mapping[str, str]) -> dict[str, tuple[list[Guess], float]]:
    """Each guesser's guesses by form, and by pipeline and form where there are enough, with the certainty to judge by."""
    found: dict[str, tuple[list[Guess], float]] = {}
    for kind, words in (("options", False), ("words", True)):
        guesser = BlindGuesser(words=words)
        for item in _all(accepted):
            if item.id not in lost:
                guesser.learn(_moved(item, moves.get(item.id)))
        cells: dict[str, list[Guess]] = defaultdict(list)
        for item in _all(accepted):
            if item.id not in lost:
                guess = guesser.guess(_moved(item, moves.get(item.id)))
                cells[guess.cell].append(guess)
        forms: dict[str, list[Guess]] = defaultdict(list)
        for cell, guesses in cells.items():
            forms[cell.split("/")[1]] += guesses
        found |= {f"{form} by {kind}": (guesses, Z_FORM) for form, guesses in forms.items()}
        found |= {f"{cell} by {kind}": (guesses, Z_CELL) for cell, guesses in cells.items() if len(guesses) >= SMALLEST_CELL}
    return found


def rebalance(items: Iterable[Item]) -> dict[str, str]:
    """Multiple-choice questions to re-letter, id → the key for their right option; empty unless one place is crowded.

    The places were dealt evenly before the checks; only what was dropped since can have upset them.
    """
    answers = {item.id: item.answer for item in items if item.question_type == "multiple_choice"}
    counts = Counter(answers.values())
    even = len(answers) / len(KEYS)
    if not answers or sum((counts[key] - even) ** 2 / even for key in KEYS) < CROWDED:
        return {}
    base, extra = divmod(len(answers), len(KEYS))
    ranked = sorted(KEYS, key=lambda key: (-counts[key], key))
    due = {key: base + (number < extra) for number, key in enumerate(ranked)}
    wanting = [key for key in KEYS for _ in range(due[key] - counts[key])]
    moves: dict[str, str] = {}
    for key in KEYS:
        here = sorted((name for name, answer in answers.items() if answer == key), key=lambda name: fraction_for(0, name, "move"))
        for name in here[: max(0, counts[key] - due[key])]:
            moves[name] = wanting.pop()
    return moves


def _moved(item: Item, key: str | None) -> Item:
    """The question with its right option at `key`: two options change places, and what the baseline said moves along."""
    if key is None:
        return item
    swap = {item.answer: key, key: item.answer}
    options = {place: item.options[swap.get(place, place)] for place in item.options}
    answers = tuple(swap.get(answer.strip(), answer) for answer in item.difficulty.answers)
    return structs.replace(
        item,
        options=options,
        answer=key,
        correct_option=key,
        full_question=full_question(item.question, options),
        distractors={swap.get(place, place): told for place, told in sorted(item.distractors.items())},
        difficulty=structs.replace(item.difficulty, answers=answers),
        provenance=structs.replace(item.provenance, relettered=True),
    )


def _all(shards: Sequence[Path]) -> Iterator[Item]:
    for shard in shards:
        yield from read_records(shard, Item)
