"""Families: two methods that agree, a dial that turns, words in both languages, and pay for right answers only."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from millrace.run.ids import canonical
from millrace.synthesis.families.catalogue import load_family, problem_of
from millrace.synthesis.families.contract import LEVELS, Problem
from millrace.synthesis.scoring.answers import SCORERS, score_answer
from millrace.testing.kinds import kept
from millrace.testing.kinds.family.mutants import functions_of, mutants

FOLDER = "millrace.synthesis.families.contract"
WORD = "family"
SEEDS = 12
"""Problems that are drawn at each level; `checked_with` takes more."""
MOST_TWICE = 0.15
"""The largest share of the problems of all levels that were drawn before."""
MOST_ALIKE = 0.2
"""The largest share of the problems that have the most common answer."""


class Subject:
    """A family, and how many problems to look at."""

    def __init__(self, name: str, seeds: int = SEEDS) -> None:
        self.name, self.module, self.seeds = name, load_family(name), seeds
        self.drawn = lru_cache(maxsize=1)(self._drawn)

    def _drawn(self) -> list[tuple[int, Problem, Any]]:
        """(level, problem, answer) of all of them."""
        found = []
        for level in LEVELS:
            for seed in range(self.seeds):
                problem = problem_of(self.name, level, seed)
                found.append((level, problem, self.module.solve(problem)))
        return found


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Subject]:
    """The family; `seeds` in the settings looks at more problems."""
    yield Subject(name, int(settings.get("seeds", SEEDS)))


def its_answer_type_has_a_scorer(subject: Subject) -> None:
    """And its topic is a pattern."""
    kept(subject.module.ANSWER_TYPE in SCORERS, f"ANSWER_TYPE must be one of {', '.join(sorted(SCORERS))}")
    kept(re.compile(subject.module.TOPIC), "TOPIC must be a pattern")
    kept(subject.module.DIAL.strip(), "DIAL must say what grows with the level")


def its_problems_depend_on_the_seed_alone_and_are_json(subject: Subject) -> None:
    """The same bytes each time, in any order."""
    for level, problem, answer in subject.drawn():
        kept(orjson.loads(orjson.dumps(problem)) == problem, f"a problem at level {level} is no JSON: {problem!r:.200}")
        kept(isinstance(answer, int | str), f"an answer must be an integer or a text, not {answer!r:.80}")
    before = [canonical(problem) for _, problem, _ in subject.drawn()]
    problem_of.cache_clear()
    again = [canonical(problem_of(subject.name, level, seed)) for level in reversed(LEVELS) for seed in range(subject.seeds)]
    kept(sorted(before) == sorted(again), "the same seeds draw other problems the second time: draw from `rng` alone")


def its_second_method_comes_to_the_same_answers(subject: Subject) -> None:
    """For every problem at every level."""
    for level, problem, answer in subject.drawn():
        proven = subject.module.verify(problem)
        kept(proven == answer, f"level {level}: solve says {answer!r}, verify {proven!r}, of {problem!r:.300}")


def its_second_method_shares_no_function_with_the_first(subject: Subject) -> None:
    """What `verify` calls, and what that calls, is not what `solve` calls."""
    shared = functions_of(subject.module, "verify") & functions_of(subject.module, "solve")
    kept(not shared, f"solve and verify both call {', '.join(sorted(shared))}: a mistake there would not be seen")


def its_effort_grows_with_the_level(subject: Subject) -> None:
    """On average over the problems."""
    efforts: dict[int, list[float]] = {}
    for level, problem, _ in subject.drawn():
        efforts.setdefault(level, []).append(subject.module.effort(problem))
    means = [sum(found) / len(found) for _, found in sorted(efforts.items())]
    kept(all(a < b for a, b in itertools.pairwise(means)), f"effort by level: {[round(mean, 2) for mean in means]}")


def its_questions_are_said_in_english_and_chinese(subject: Subject) -> None:
    """And two different problems never in the same words."""
    for language in ("en", "zh"):
        said: dict[str, bytes] = {}
        for level, problem, _ in subject.drawn():
            question = subject.module.say(problem, language)
            kept(len(question) > 10 and question == question.strip(), f"level {level}, {language}: {question!r:.80}")
            chinese = bool(re.search(r"[\u4e00-\u9fff]", question))
            kept(
                chinese == (language == "zh"),
                f"level {level}: the question in '{language}' is in another language: {question:.80}",
            )
            kept("{" not in question or "{}" in question, f"level {level}: a name in braces was not put in: {question:.200}")
            known = said.setdefault(question, canonical(problem))
            kept(known == canonical(problem), f"two problems are both said: {question:.200}")


def it_pays_for_the_right_answer_and_for_no_other(subject: Subject) -> None:
    """Also within a sentence; nothing for an empty reply, for a slip, or for the answer with something changed."""
    kind = subject.module.ANSWER_TYPE
    for level, problem, answer in subject.drawn():
        text = str(answer)
        for reply in (text, f"The answer is \\boxed{{{text}}}", f"I added them up.\nFinal answer: {text}"):
            kept(score_answer(kind, text, reply) == 1, f"level {level}: the right answer {text} is not paid in {reply!r}")
        for wrong in ("", *mutants(text, kind), *(str(slip) for slip in subject.module.slips(problem) if slip != answer)):
            kept(score_answer(kind, text, wrong) == 0, f"level {level}: {wrong!r} is paid for {text}")


def its_problems_and_answers_are_not_the_same_again_and_again(subject: Subject) -> None:
    """Over all levels."""
    problems = Counter(canonical(problem) for _, problem, _ in subject.drawn())
    twice = 1 - len(problems) / problems.total()
    kept(twice <= MOST_TWICE, f"{twice:.0%} of {problems.total()} problems were drawn before; at most {MOST_TWICE:.0%}")
    answer, count = Counter(str(answer) for _, _, answer in subject.drawn()).most_common(1)[0]
    share = count / problems.total()
    kept(share <= MOST_ALIKE, f"{share:.0%} of the answers are {answer}; at most {MOST_ALIKE:.0%}")


PROMISES = (
    its_answer_type_has_a_scorer,
    its_problems_depend_on_the_seed_alone_and_are_json,
    its_second_method_comes_to_the_same_answers,
    its_second_method_shares_no_function_with_the_first,
    its_effort_grows_with_the_level,
    its_questions_are_said_in_english_and_chinese,
    it_pays_for_the_right_answer_and_for_no_other,
    its_problems_and_answers_are_not_the_same_again_and_again,
)
