"""What a single question must pass, each check with a name and, when it fails, a reason.

Every check looks at the finished record alone (and the image, for verification). A repaired question goes through all of them
again.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from millrace.lake.annotations import understood_by
from millrace.lake.rows import LakeRow
from millrace.qa.annotated import question_rules
from millrace.qa.items import KEYS, full_question
from millrace.records.question import CheckResult, Evidence, ExaminedQuestion, Item
from millrace.run.ids import content_id, hash_files


class Examination(NamedTuple):
    """All results, and what they come to."""

    checks: list[CheckResult]
    status: Evidence
    by: str | None

    def record(self, proof: str) -> ExaminedQuestion:
        """As a line of a file; `Examination.of` reads it."""
        checks = tuple((check.name, check.passed, check.detail) for check in self.checks)
        return ExaminedQuestion(proof=proof, checks=checks, status=self.status, by=self.by)

    @classmethod
    def of(cls, record: ExaminedQuestion) -> Examination:
        """What `record` wrote."""
        return cls([CheckResult(*check) for check in record.checks], record.status, record.by)

    @property
    def failure(self) -> CheckResult | None:
        """The first check that was not passed."""
        return next((check for check in self.checks if not check.passed), None)


def proof_of(item: Item, row: LakeRow) -> str:
    """A hash over all that an examination depends on: the question, the image, its annotation, and the code that checks.

    Two questions with the same proof have the same examination, so that what was checked when it was written need not be again.
    """
    told = row.annotation
    rules = understood_by(told, "questions")
    view = None if told is None else [told.kind, sha256(told.data).hexdigest(), sha256(told.second_view or b"").hexdigest()]
    image = sha256(row.image_bytes).hexdigest()
    return content_id(
        "exam", msgspec.to_builtins(item), image, view, _code("" if rules is None else str(rules.__file__)), length=32
    )


@lru_cache(maxsize=8)
def _code(rules: str) -> str:
    """A hash over the checks and over the whole package that `rules` belongs to."""
    return hash_files(Path(__file__), *([Path(rules).parent] if rules else []))


def examine(item: Item, row: LakeRow) -> Examination:
    """Put a finished question through every check, the cheap ones first; those after a failure are not made."""
    try:
        return _examined(item, row)
    except Exception as error:  # noqa: BLE001 - a question that can't even be checked is a question refused
        return Examination([CheckResult("readable", False, f"{type(error).__name__}: {error}")], "unverified", None)


def _examined(item: Item, row: LakeRow) -> Examination:
    checks: list[CheckResult] = []
    for name, rule in RULES.items():
        detail = rule(item)
        checks.append(CheckResult(name, not detail, detail))
        if detail:
            return Examination(checks, "unverified", None)
    status, by = item.verification.status, item.verification.by
    rules = question_rules(row) if item.task.aspect else None
    finding = rules.verify(item, row) if rules is not None else None
    if finding is None or finding.status == "unable":
        return Examination(checks, status, by)
    passed = finding.status == "verified"
    detail = "" if passed else f"{finding.reason}: {finding.detail}"
    checks.append(CheckResult("unique_answer" if finding.reason == "second_answer" else "verified", passed, detail))
    return Examination(checks, "verified" if passed else "unverified", finding.by if passed else None)


def answer_fits_type(item: Item) -> str:
    """The answer is a key of the options, or words where there are none; the copies of it agree."""
    options, answer, kind = item.options, item.answer, item.question_type
    if kind == "fill_in_blank":
        if options or item.correct_option is not None:
            return "a gap has no options"
        if not isinstance(answer, str) or not answer.strip() or answer != item.answer_text:
            return "the answer to a gap must be words"
        return "" if answer in item.accepted_answers else "the answer is not among the accepted ones"
    if kind not in ("multiple_choice", "yes_no"):
        return f"there is no question type '{kind}'"
    if answer not in options or item.correct_option != answer:
        return f"the answer '{answer}' is not a key of the options {list(options)}"
    return "" if options[answer] == item.answer_text else "the answer's text is not that of its option"


def options_are_complete(item: Item) -> str:
    """Four options for multiple choice, two for yes/no, all different, keyed A, B, C … in order; the full question shows them."""
    options = item.options
    wanted = {"multiple_choice": 4, "yes_no": 2, "fill_in_blank": 0}[item.question_type]
    if list(options) != list(KEYS[:wanted]):
        return f"{wanted} options are due, keyed {', '.join(KEYS[:wanted])}; there are {list(options)}"
    folded = [plain(text) for text in options.values()]
    if len(set(folded)) < wanted or not all(folded):
        return "two options say the same, or one says nothing"
    return "" if item.full_question == full_question(item.question, options) else "the full question shows other options"


def question_is_whole(item: Item) -> str:
    """A sentence without placeholders, with one gap exactly where one is due."""
    question = item.question
    if len(question.strip()) < 8:
        return "the question is no sentence"
    if re.search(r"[\[\]{}<>]", question):
        return "the question has a placeholder in it"
    gaps = len(re.findall(r"_{3,}", question))
    return "" if gaps == (item.question_type == "fill_in_blank") else f"the question has {gaps} gaps"


def answer_is_not_leaked(item: Item) -> str:
    """The question does not contain the answer, unless it names every alternative as well (a list to choose from)."""
    if item.question_type == "yes_no":
        return ""
    said = plain(item.question)
    if not contains(said, plain(item.answer_text)):
        return ""
    others = list(item.options.values()) or ALTERNATIVES.get(item.task.aspect, {}).get(item.language, [])
    if others and all(contains(said, plain(other)) for other in others):
        return ""
    return f"the question contains its answer '{item.answer_text}'"


ALTERNATIVES: dict[str, dict[str, list[str]]] = {
    "place": {"en": ["leftmost", "rightmost", "topmost", "bottommost"], "zh": ["最左边", "最右边", "最上面", "最下面"]},
    "point": {"en": ["up", "right", "down", "left"], "zh": ["上", "右", "下", "左"]},
    "turn": {
        "en": ["upright", "turned clockwise", "upside down", "turned counter-clockwise"],
        "zh": ["正着的", "顺时针转了", "倒过来的", "逆时针转了"],
    },
}
"""Where a gap's wording lists what may fill it, the whole list has to be there."""


def options_are_of_one_style(item: Item) -> str:
    """The right option does not stand out: it is not far longer than every other, nor the only one with a full stop."""
    if item.question_type != "multiple_choice":
        return ""
    texts = item.options
    right = texts[item.answer]
    others = [text for key, text in texts.items() if key != item.answer]
    denies = item.task.value == "none"  # its words are longer, and as often wrong as any other's: see `balance`
    if not denies and len(right) > 2 * max(len(text) for text in others) + 4:
        return "the right option is far longer than the others"
    endings = {text[-1] in ".!?。" for text in others}
    return "the right option ends unlike the others" if endings != {right[-1] in ".!?。"} and len(endings) == 1 else ""


def agrees_with_the_judge(item: Item) -> str:
    """The answer does not contradict what the judge of the failure wrote down as right."""
    judge, task = item.lineage.judge, item.task
    if judge.kind != "verified" or not task.aspect or item.question_type == "yes_no":
        return ""
    absent = task.value == "none" or (task.aspect, task.value) == ("count", "0")
    if (item.lineage.answerable is False) != absent:
        return f"the judge says that the claim {'applies' if absent else 'does not apply'}, the answer says otherwise"
    values = list(item.lineage.accepted.get(JUDGED_SLOTS.get(task.aspect, ""), ()))
    if absent or not values or task.value in values:
        return ""
    return f"the judge accepts {values}, the answer is '{task.value}'"


JUDGED_SLOTS = {
    "region": "ABSOLUTE_REGION",
    "direction": "RELATIVE_DIRECTION",
    "place": "RELATIVE_POSITION",
    "count": "COUNT",
    "point": "VIEW_DIRECTION",
    "turn": "OBJECT_DIRECTION",
}
"""Aspect → slot, where both spell their values alike."""


RULES: dict[str, Callable[[Item], str]] = {
    "answer_type": answer_fits_type,
    "options": options_are_complete,
    "question": question_is_whole,
    "leak": answer_is_not_leaked,
    "style": options_are_of_one_style,
    "judge": agrees_with_the_judge,
}
"""Name → check; each returns "" or what is wrong. The verifier comes after them."""


def plain(text: str) -> str:
    """Text without case, punctuation and doubled blanks, for comparisons."""
    return " ".join(re.sub(r"[^\w%]+", " ", text.casefold()).split())


def contains(said: str, words: str) -> bool:
    """Whether the words occur in the text as words (in Chinese: anywhere)."""
    if not words.isascii():
        return words in said
    return re.search(rf"(?<![\w%.]){re.escape(words)}(?![\w%])", said) is not None
