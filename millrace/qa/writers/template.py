"""The embedded writer: answers and wordings from the annotation's own module, distractors drawn by the plan.

Covers: the pipelines that an annotation can answer, in the languages that its kind has words for. Does not cover: images without
an annotation, and pipelines that need knowledge of the world; both are refused with a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Literal

import msgspec

from millrace.config import Settings
from millrace.errors import ItemFailed
from millrace.qa.annotated import question_rules
from millrace.qa.settings import QaSettings
from millrace.qa.writers import Draft, Option, Request
from millrace.qa.writing.answer_vocabulary import NONE
from millrace.qa.writing.case import Case, Choice, choices_for, has_options
from millrace.qa.writing.option_balance import Plan, stated
from millrace.qa.writing.wordings import YES_NO, Wordings, YesNo
from millrace.run.ids import random_for

VERSION = "2"
"""Raised when the same failure would get another question than before."""


class WriterSettings(Settings):
    """Questions from templates; nothing to set."""

    name: Literal["template"] = "template"
    """Which writer."""


class TemplateWriter:
    """Writes from templates."""

    name = "template"

    def __init__(self, qa: QaSettings, plan: Plan) -> None:
        self._qa = qa
        self._plan = plan
        self.fingerprint = f"template/{VERSION}/{qa.language}"

    def write(self, requests: Sequence[Request]) -> list[Draft | ItemFailed]:
        """One draft per request, or why there can't be one."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Draft | ItemFailed:
        try:
            choices = choices_for(request.case, self._qa.seed)
            wordings = self._wordings(request.case)
            form, choice = self._form(request, choices, wordings)
        except ItemFailed as failure:
            return failure
        rng = random_for(self._qa.seed, request.case.id, "words", str(request.variant), str(request.attempt))
        words = wordings.words(request.case.record.subject, rng)
        draft = {
            "multiple_choice": _multiple_choice,
            "fill_in_blank": _fill_in_blank,
            "yes_no": _yes_no,
            "presence": _presence,
        }[form]
        return draft(_Work(wordings, YES_NO[self._qa.language], self._plan, choice, words, rng))

    def _wordings(self, case: Case) -> Wordings:
        rules = question_rules(case.row)
        found = rules.wordings(self._qa.language) if rules is not None else None
        if found is None:
            raise ItemFailed("no_wordings", f"there are no words for questions about it in the language '{self._qa.language}'")
        return found

    def _form(self, request: Request, choices: list[Choice], wordings: Wordings) -> tuple[str, Choice]:
        """The form and the reading for this variant: the plan's chances, decided by the record's own hash."""
        drawn = [(form, choice) for choice in choices if (form := self._drawn(request.case, choice, wordings)) is not None]
        # A second question about a failure takes what is left, balanced or not: another form, or another aspect.
        further = [(form, choice) for choice in choices for form in self._able(choice, wordings)]
        offered = drawn if request.variant == 0 else [*drawn, *further]
        distinct = {(form, choice.reading.aspect): (form, choice) for form, choice in reversed(offered)}
        ordered = sorted(distinct.values(), key=offered.index)
        if request.variant < len(ordered):
            return ordered[request.variant]
        reason = "no_further_form" if request.variant else "no_balanced_form"
        raise ItemFailed(reason, "every form of question would give the answer away, or is not wanted (question_type_ratio)")

    def _drawn(self, case: Case, choice: Choice, wordings: Wordings) -> str | None:
        family = self._plan.family(choice.reading.family)
        shares = self._qa.question_type_ratio.shares()
        able = self._able(choice, wordings)
        rng = random_for(self._qa.seed, case.id, "form", choice.reading.family)
        for form in ("multiple_choice", "yes_no", "fill_in_blank"):
            chance = family.forms.get(form, {}).get(choice.right, shares[form])
            if rng.random() < chance and form in able:
                return form
        presence = family.forms.get("presence", {})
        kind = "absent" if choice.right == NONE else "denied" if choice.baseline == NONE else ""
        if choice.reading.presence and rng.random() < presence.get(kind, 0.0):
            return "presence"
        if self._qa.blind_check == "report" and able:
            return able[0]
        return None

    def _able(self, choice: Choice, wordings: Wordings) -> list[str]:
        """Forms that this reading can take and that are wanted at all."""
        shares = self._qa.question_type_ratio.shares()
        possible = {
            "multiple_choice": has_options(choice.reading),
            "yes_no": choice.right != NONE and bool(stated(choice.reading.wrong)),
            "fill_in_blank": choice.reading.sole and choice.right != NONE,
        }
        aspect = choice.reading.aspect
        return [form for form, can in possible.items() if can and shares[form] and wordings.templates(aspect, form)]


class _Work:
    """What every form needs: words, the chosen reading, randomness of this question's own."""

    def __init__(self, phrasing: Wordings, yes_no: YesNo, plan: Plan, choice: Choice, words: dict[str, str], rng: Random) -> None:
        self.phrasing = phrasing
        self.yes_no = yes_no
        self.choice = choice
        self.aspect = choice.reading.aspect
        self.family = plan.family(choice.reading.family)
        self.words = words
        self.rng = rng

    def sentence(self, form: str, value: str = "", *, aspect: str = "") -> tuple[str, str]:
        """(a wording with everything in place, its name)."""
        key = aspect or self.aspect
        templates = self.phrasing.templates(key, form)
        number = self.rng.randrange(len(templates))
        name = self.phrasing.name(self.aspect, value) if value else ""
        return self.phrasing.say(templates[number], self.words, name), f"{key}/{form}/{number}"

    def explanation(self) -> str:
        """Why the right answer is right."""
        if self.choice.right == NONE:
            return self.phrasing.say(self.phrasing.nothing[self.aspect], self.words)
        told = self.phrasing.explanations[self.aspect]
        return self.phrasing.say(told, self.words, self.phrasing.name(self.aspect, self.choice.right))

    def draw(self, form: str, count: int) -> list[str]:
        """Wrong values, drawn by the plan."""
        draw = self.family.draws.get(form)
        wrong = stated(self.choice.reading.wrong) if form == "yes_no" else list(self.choice.reading.wrong)
        if draw is None:
            return self.rng.sample(sorted(wrong), count)
        return draw.pick(wrong, self.choice.baseline, count, self.rng)

    def kind(self, value: str) -> str:
        """What sort of distractor a wrong value is: the baseline's own answer before anything else."""
        return "baseline_answer" if value == self.choice.baseline else self.choice.reading.wrong[value]


def _multiple_choice(work: _Work) -> Draft:
    values = work.draw("multiple_choice", 3)
    work.rng.shuffle(values)
    question, template = work.sentence("multiple_choice")
    say = work.phrasing.option
    return Draft(
        question_type="multiple_choice",
        question=question,
        right=Option(say(work.aspect, work.choice.right), work.choice.right, "right"),
        wrong=tuple(Option(say(work.aspect, value), value, work.kind(value)) for value in values),
        explanation=work.explanation(),
        aspect=work.aspect,
        family=work.choice.reading.family,
        template=template,
    )


def _fill_in_blank(work: _Work) -> Draft:
    question, template = work.sentence("fill_in_blank")
    text = work.phrasing.fill(work.aspect, work.choice.right)
    return Draft(
        question_type="fill_in_blank",
        question=question,
        right=Option(text, work.choice.right, "right"),
        explanation=work.explanation(),
        aspect=work.aspect,
        family=work.choice.reading.family,
        template=template,
    )


def _yes_no(work: _Work) -> Draft:
    true = work.rng.random() < 0.5
    value = work.choice.right if true else work.draw("yes_no", 1)[0]
    question, template = work.sentence("yes_no", value)
    return _decided(work, true, question, template, statement=value, kind="" if true else work.kind(value))


def _presence(work: _Work) -> Draft:
    true = work.choice.right != NONE
    question, template = work.sentence("yes_no", aspect="presence")
    told = work.phrasing.explanations["present" if true else "absent"]
    draft = _decided(work, true, question, template, statement=None, kind="baseline_answer")
    return msgspec.structs.replace(draft, explanation=work.phrasing.say(told, work.words), form="presence")


def _decided(work: _Work, true: bool, question: str, template: str, *, statement: str | None, kind: str) -> Draft:
    yes, no = Option(work.yes_no.yes, "yes", "right"), Option(work.yes_no.no, "no", "right")
    right, other = (yes, no) if true else (no, yes)
    return Draft(
        question_type="yes_no",
        question=question,
        right=right,
        wrong=(Option(other.text, other.value, kind or "negation"),),
        explanation=work.explanation(),
        aspect=work.aspect,
        family=work.choice.reading.family,
        statement=statement,
        template=template,
    )


def open_writer(settings: WriterSettings, *, qa: QaSettings, plan: Plan) -> TemplateWriter:
    """The writer, ready for use."""
    del settings
    return TemplateWriter(qa, plan)
