"""Proves a question's answer, or says which check it fails.

The proof never trusts the generator: the verifier of the environment makes every value again from the formal question (the
chain), the words are rendered again, the tools are called again, and each hop is shown to matter. A record carries all that is
needed, so `prove` works on a line of `qa.jsonl` years later.

Covers: a wrong answer, a changed observation, a hop too many or too few, a question that says something else than its chain,
an answer that stands in the question. Does not cover: whether the question is interesting.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from millrace.errors import ItemFailed
from millrace.records.synthesis import Check
from millrace.records.trajectories import Chain, Hop, Step
from millrace.synthesis.environments import Action, Environment, Unprovable, Value, Verifier
from millrace.synthesis.scoring.answers import score_answer, type_of
from millrace.synthesis.tools.calls import run_together
from millrace.synthesis.writing import answer_text, normalised, write_question

MAX_ANSWER_CHARS = 200
"""A longer answer cannot be compared by exact match in good faith."""


def recompute(verifier: Verifier, chain: Chain) -> list[Value]:
    """All values of a chain, start first, by the verifier's own means; the values stored in the chain are not looked at.

    Raises:
        Unprovable: some hop has no value, or more than one.
    """
    values = [verifier.origin(msgspec.structs.asdict(chain.start))]
    for hop in chain.hops:
        values.append(verifier.apply(hop.op, hop.args, values))
    return values


def score(verifier: Verifier, chain: Chain, response: str, answer_type: str = "") -> float:
    """1.0 when a response answers the chain's question, else 0.0 (see `scoring.answers`; `scoring.reward` opens the world too).

    Args:
        verifier: of the chain's environment.
        chain: the formal question.
        response: the answer, with or without words around it.
        answer_type: how it is scored; empty: by the form of the true value.
    """
    try:
        true = recompute(verifier, chain)[-1]
    except Unprovable:
        return 0.0
    return score_answer(answer_type or type_of(true), answer_text(true), response)


def necessary_hops(environment: Environment, chain: Chain, values: Sequence[Value]) -> list[bool]:
    """For each hop that counts as evidence: would another value in its place lead to other answers?

    The verifier names other values that the hop could have had; with at least two of them the chain must end elsewhere, and at
    most half of them may end at the true answer. A hop that can simply be left out must change the answer by it. The last hop
    matters when its value is not one that was known before it.
    """
    verifier = environment.verifier
    if verifier is None:
        return []
    hops, found = chain.hops, []
    for place, hop in enumerate(hops):
        if not environment.operators[hop.op].evidence:
            continue
        if place == len(hops) - 1:
            kind = environment.operators[hop.op].answer_type or type_of(values[-1])
            true, known = answer_text(values[-1]), [answer_text(value) for value in values[:-1]]
            found.append(not any(score_answer(kind, true, value) for value in known))  # or an earlier value would be paid
            continue
        operator = environment.operators[hop.op]
        if operator.takes == operator.gives and _end(verifier, hops, [*values[: place + 1], values[place]]) == values[-1]:
            found.append(False)  # left out, it leads to the same answer
            continue
        try:
            others = verifier.alternatives(hop.op, hop.args, values[: place + 2])
        except Unprovable:
            others = []
        ends = [_end(verifier, hops, [*values[: place + 1], other]) for other in others if other != values[place + 1]]
        defined = [end for end in ends if end is not None]
        same = sum(end == values[-1] for end in defined)
        differing = {answer_text(end) for end in defined if end != values[-1]}
        found.append(len(differing) >= 2 and same * 2 <= len(defined))
    return found


def _end(verifier: Verifier, hops: Sequence[Hop], values: list[Value]) -> Value:
    """Where a chain ends from the values so far; None where it ends nowhere."""
    for hop in hops[len(values) - 1 :]:
        try:
            values = [*values, verifier.suppose(hop.op, hop.args, values)]
        except Unprovable:
            return None
    return values[-1]


def prove(
    environment: Environment,
    *,
    chain: Chain,
    question: str,
    answer: str,
    language: str,
    steps: Sequence[Step],
    replay: bool = True,
    needed: Sequence[bool] | None = None,
) -> list[Check]:
    """Every check that makes an item `verified`, in order; it stops at the first that fails.

    Args:
        environment: an open one, of the same versions as the item.
        chain: the formal question with the values that were read from the observations.
        question: the words.
        answer: the claimed answer.
        language: of the words.
        steps: one per hop.
        replay: call the tools again and compare what they say.
        needed: what `necessary_hops` said of this chain a moment ago, where it was asked (it is the dearest check); None: ask.
    """
    checks: list[Check] = []
    for check in _checks(environment, chain, question, answer, language, steps, replay, needed):
        checks.append(check)
        if not check.passed:
            break
    return checks


def _checks(
    environment: Environment,
    chain: Chain,
    question: str,
    answer: str,
    language: str,
    steps: Sequence[Step],
    replay: bool,
    needed: Sequence[bool] | None,
) -> Iterator[Check]:
    verifier = environment.verifier
    if verifier is None:
        yield Check("has_verifier", False, f"{environment.name} has no verifier")
        return
    wrong = _schema(environment, chain, question, answer, steps)
    yield Check("schema", not wrong, wrong)
    if wrong:
        return
    yield Check("wording", write_question(environment, chain, language) == question, "rendered again from the chain")
    try:
        values = recompute(verifier, chain)
    except (Unprovable, ItemFailed) as error:
        yield Check("independent_values", False, str(error))
        return
    claimed = [chain.start.value, *(hop.value for hop in chain.hops)]
    for place, (mine, theirs) in enumerate(zip(values, claimed, strict=True)):
        if mine != theirs:
            yield Check("independent_values", False, f"value {place}: the tools say {theirs!r}, {verifier.name} says {mine!r}")
            return
    yield Check("independent_values", True, f"{len(values) - 1} of {len(values) - 1} equal, by {verifier.name}")
    yield Check("answer", answer_text(values[-1]) == answer, "the last value, computed again")
    yield _evidence(environment, chain, values, steps)
    needed = necessary_hops(environment, chain, values) if needed is None else needed
    yield Check("each_hop_necessary", bool(needed) and all(needed), f"{sum(needed)} of {len(needed)} hops change the answer")
    yield Check("no_leak", not leaks(question, answer), "the answer does not stand in the question")
    if replay:
        yield _replayed(environment, steps)


def _schema(environment: Environment, chain: Chain, question: str, answer: str, steps: Sequence[Step]) -> str:
    if not question.strip() or not answer.strip():
        return "the question or the answer is empty"
    if answer != answer.strip():
        return "the answer has spaces around it"
    if len(answer) > MAX_ANSWER_CHARS:
        return f"the answer has {len(answer)} characters; at most {MAX_ANSWER_CHARS}"
    if not chain.hops or len(steps) != len(chain.hops):
        return f"{len(chain.hops)} hops and {len(steps)} steps"
    unknown = [hop.op for hop in chain.hops if hop.op not in environment.operators]
    if unknown:
        return f"no operator '{unknown[0]}'"
    kinds = [chain.start.kind]
    for hop in chain.hops:
        operator = environment.operators[hop.op]
        if operator.takes != kinds[-1]:
            return f"{operator.name} takes {operator.takes}, not {kinds[-1]}"
        kinds.append(operator.gives)
    return ""


def _evidence(environment: Environment, chain: Chain, values: list[Value], steps: Sequence[Step]) -> Check:
    for place, (hop, step) in enumerate(zip(chain.hops, steps, strict=True)):
        operator = environment.operators[hop.op]
        before = values[: place + 1]
        if step.tool_name != operator.tool or step.parameters != operator.act(hop.args, before):
            return Check("evidence", False, f"step {place + 1} is not the call that the hop stands for")
        try:
            said = operator.read(hop.args, before, step.observation)
        except (ValueError, KeyError, IndexError) as error:
            return Check("evidence", False, f"step {place + 1}: {error}")
        if said != values[place + 1]:
            return Check("evidence", False, f"step {place + 1} observed {said!r}, not {values[place + 1]!r}")
    return Check("evidence", True, "each value stands in its observation")


def _replayed(environment: Environment, steps: Sequence[Step]) -> Check:
    calls = [Action(step.tool_name, step.parameters) for step in steps]
    for number, (step, again) in enumerate(zip(steps, run_together(environment.replay_tools, calls), strict=True), 1):
        if again.status != "ok" or again.text != step.observation:
            return Check("replay", False, f"step {number} gives another observation when it is done again")
    return Check("replay", True, f"{len(steps)} calls give the same observations again")


def leaks(question: str, answer: str) -> bool:
    """Whether the answer stands in the question as a word or number of its own."""
    wanted, said = normalised(answer), normalised(question)
    place = said.find(wanted)
    while place >= 0:
        before, after = said[place - 1 : place], said[place + len(wanted) : place + len(wanted) + 1]
        whole = not (before.isalnum() and before.isascii()) and not (after.isalnum() and after.isascii())
        if whole and wanted:
            return True
        place = said.find(wanted, place + 1)
    return False
