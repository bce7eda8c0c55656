"""RUN_DIR/report.html of a synthesis run: what came of the seeds, on one page that needs nothing else.

The caller fills `SynthesisReport` (see `results.py`); the page has the look of the main job's report and its rules: no script, no
request, all text escaped, unknown is said in words.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from millrace.llm.estimate import paid_words
from millrace.records.llm import LedgerRow
from millrace.reporting import charts
from millrace.reporting.stage_times import StageTime
from millrace.run.journal import write_atomic


class Hop(msgspec.Struct, frozen=True):
    """One step on the way to an answer."""

    says: str
    """What is asked at this step, in words."""
    tool: str
    call: str
    """The arguments, as JSON."""
    observation: str
    value: str | None
    """What was read out of the observation; None where nothing was (a chat model's step)."""


class Example(msgspec.Struct, frozen=True):
    """One item with all that proves it."""

    qa_id: str
    kind: str
    seed: str
    question: str
    answer: str
    language: str
    hops: tuple[Hop, ...]
    status: str
    verified_by: str
    checks: tuple[tuple[str, bool, str], ...]
    """(name, passed, detail)."""


class SynthesisReport(msgspec.Struct, frozen=True):
    """Everything that the page shows."""

    environment: str
    policy: str
    status: str
    """`complete` or `short of its target`."""
    created: str
    seeds: dict[str, int]
    """`lines`, `different`, `repeats`, `failed`."""
    failures: dict[str, int]
    candidates: int
    items: dict[str, int]
    """`verified`, `judged`, `unverified` → questions."""
    rejected: dict[str, int]
    kinds: dict[str, int]
    """What the last hop asks for → questions."""
    hops: dict[str, int]
    median_hops: int | None
    languages: dict[str, int]
    seed_match: dict[str, int]
    templates: int
    top_templates: dict[str, int]
    answers: int
    """Different answers."""
    top_answers: dict[str, int]
    answer_limit: int
    """No answer was given more often."""
    answer_share: float
    """The share that the limit was made from."""
    spans: dict[str, float]
    """Where the workers' time went, in seconds by kind of work."""
    wall_s: float | None
    times: tuple[StageTime, ...]
    paid: tuple[LedgerRow, ...]
    gallery: tuple[Example, ...]
    reproduce: tuple[str, ...]
    settings: dict[str, str]
    versions: dict[str, str]

    @property
    def kept(self) -> int:
        """Questions of all three kinds."""
        return sum(self.items.values())

    @property
    def accepted(self) -> float | None:
        """The share of the candidates that was kept; None when there were none."""
        return self.kept / self.candidates if self.candidates else None

    @property
    def largest_share(self) -> float | None:
        """The share of the most common answer; None without questions."""
        return max(self.top_answers.values()) / self.kept if self.kept and self.top_answers else None

    @property
    def repeated_answers(self) -> dict[str, int]:
        """The most common answers that were given more than once."""
        return {answer: times for answer, times in self.top_answers.items() if times > 1}

    @property
    def missing(self) -> int:
        """Candidates unaccounted for: 0 when the funnel adds up."""
        return self.candidates - self.kept - sum(self.rejected.values())

    def rejections(self) -> list[dict[str, str | int]]:
        """The reasons of rejection as rows of a table."""
        whole = self.candidates or 1
        return [
            {"reason": charts.words(reason), "candidates": count, "share": f"{count / whole:.1%}"}
            for reason, count in sorted(self.rejected.items(), key=lambda pair: (-pair[1], pair[0]))
        ]


def findings(data: SynthesisReport) -> list[str]:
    """What stands out, in sentences."""
    number, percent = charts.number, charts.percent
    made = f"{number(data.kept)} questions came of {number(data.seeds['different'])} seeds"
    found = [f"{made}; {percent(data.accepted)} of the candidates were kept."]
    if data.rejected:
        reason, count = max(data.rejected.items(), key=lambda pair: (pair[1], pair[0]))
        most = f"Most rejections, {number(count)} of {number(sum(data.rejected.values()))}, are for “{charts.words(reason)}”"
        found.append(f"{most}: {REASONS.get(reason, 'see rejected.jsonl')}.")
    if data.kept:
        found.append(
            f"They use {number(data.templates)} templates with {data.median_hops} hops at the median; "
            f"the most common answer has {percent(data.largest_share, 1)} of them."
        )
    found.append(f"Cost: {paid_words(data.paid)}.")
    return found


REASONS = {
    "schema": "question, answer and steps do not fit together",
    "wording": "the question does not say what its chain asks",
    "independent_values": "the verifier finds another value, or none, or several",
    "answer": "the answer is not the last value computed again",
    "evidence": "a value does not stand in its observation",
    "each_hop_necessary": "a hop could be left out without changing the answer",
    "no_leak": "the answer stands in the question",
    "replay": "a repeated call gave another observation",
    "duplicate": "the same question came before",
    "contaminated": "it shares 13 words in a row with a benchmark",
    "answer_too_common": "its answer was given too often already",
    "grounded": "the answer stands in no observation",
    "judge": "a second model does not agree",
    "has_verifier": "the environment cannot prove anything",
}
"""Why a candidate is rejected, in words."""


def as_markdown(data: SynthesisReport, folder: Path) -> str:
    """The findings for the Prefect UI."""
    lines = [f"# Synthesis in {data.environment}: {data.status}", "", *(f"- {finding}" for finding in findings(data)), ""]
    return "\n".join([*lines, f"The whole report: `{folder / 'report.html'}`"])


def write_report(data: SynthesisReport, path: Path) -> Path:
    """Write the report to `path`, all at once, and return the path."""
    write_atomic(path, render(data))
    return path


def render(data: SynthesisReport) -> str:
    """The page."""
    return _template().render(data=data, findings=findings(data), reasons=REASONS, cost=paid_words(data.paid))


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, charts.PAGE_PARTS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=charts.percent, number=charts.number, duration=charts.duration, words=charts.words, ordered=_ordered
    )
    environment.globals.update(unknown=charts.UNKNOWN)
    return environment.get_template("report_page.html.j2")


def _ordered(counts: dict[str, float]) -> list[tuple[str, float]]:
    """The largest first."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
