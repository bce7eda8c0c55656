"""The dataset's card: what it is, how it was made and checked, and its limits, in Markdown with a header for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import yaml

from millrace.qa.checking.text_only_baseline import SMALLEST_CELL
from millrace.qa.settings import QaSettings
from millrace.records.summaries import BlindGuess, DatasetReport, FilteringSummary, ProbingSummary, RateSummary


class CardFacts(msgspec.Struct):
    """What the card tells beyond the rows; what a flow does not know stays empty and is left out."""

    failure_rates: dict[str, RateSummary] = {}
    """By claim: how often the model under test failed."""
    baseline: str = ""
    """The model under test: its plug-in."""
    lake: str = ""
    """The images, in words."""
    funnel: dict[str, ProbingSummary | FilteringSummary] = {}
    """By stage: what went in, came out, was dropped."""
    blind: dict[str, BlindGuess] = {}
    """By group: the guessers that see no picture."""
    moved: int = 0
    """Questions re-lettered after the baseline was asked."""
    versions: dict[str, str | None] = {}


def dataset_card(report: DatasetReport, qa: QaSettings, facts: CardFacts) -> str:
    """The card of a finished dataset."""
    parts = [
        _header(report, qa),
        f"# {qa.dataset.name}\n\n{_summary(report, facts)}",
        f"## Load it\n\n```python\nfrom datasets import load_dataset\n\n{_snippet(report)}\n```",
        f"## What is in it\n\n{_contents(report)}",
        f"## How it was made\n\n{_making(qa, facts)}",
        f"## How it was checked\n\n{_checks(report, qa, facts)}",
        f"## What the model under test gets wrong\n\n{_rates(facts)}" if facts.failure_rates else "",
        f"## Lineage\n\n{LINEAGE}",
        f"## Limits\n\n{_limits(report)}",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


STATUSES = {
    "verified": "verified by a program that shares no code with the one that wrote the answer",
    "judged": "believed by a model, and not proved",
    "unverified": "checked for form only",
}
"""Kinds of evidence, the best first, and what each means."""


def _header(report: DatasetReport, qa: QaSettings) -> str:
    statuses = [status for status in STATUSES if status in report.splits]
    configs = [
        {
            "config_name": status,
            "default": status == statuses[0],
            "data_files": [
                {"split": split, "path": f"{status}/{split}-*.parquet"} for split in sorted(report.splits[status], reverse=True)
            ],
        }
        for status in statuses
    ]
    header = {
        "pretty_name": qa.dataset.name,
        "license": qa.dataset.license,
        "language": [qa.language],
        "task_categories": ["visual-question-answering"],
        "size_categories": [_size_category(report.rows)],
        "tags": ["vqa", "synthetic", "model-failures"],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"


def _size_category(rows: int) -> str:
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return name
    return "1M<n<10M"


def _summary(report: DatasetReport, facts: CardFacts) -> str:
    model = f" of the model `{facts.baseline}`" if facts.baseline else ""
    images = sum(report.images.values())
    evidence = "; ".join(
        f"{sum(splits.values()):,} are {STATUSES[status]} (`{status}`)" for status, splits in report.splits.items()
    )
    return (
        f"{report.rows:,} questions about {images:,} images, each made from a measured failure{model}: the question is about the "
        f"very subject that the model got wrong. Of the questions, {evidence}."
    )


def _snippet(report: DatasetReport) -> str:
    lines = []
    for status in report.splits:
        name = "" if len(report.splits) == 1 else f', "{status}"'
        lines.append(f'{status} = load_dataset("path/to/dataset"{name})')
    first = next(iter(report.splits), "verified")
    split = "train" if "train" in report.splits.get(first, {"train": 0}) else "heldout"
    return "\n".join([*lines, f'{first}["{split}"][0]["question"], {first}["{split}"][0]["options"]'])


def _contents(report: DatasetReport) -> str:
    rows = [(status, split, f"{count:,}") for status, splits in report.splits.items() for split, count in splits.items()]
    images = ", ".join(f"{count:,} in {name}" for name, count in report.images.items())
    places = ", ".join(f"{key} {count:,}" for key, count in report.answers.items())
    return "\n\n".join(
        (
            table(("evidence", "split", "questions"), rows),
            f"Splits are by image: no image is in both ({images}).",
            table(("form", "questions"), [(name, f"{count:,}") for name, count in report.question_types.items()]),
            table(("pipeline", "questions"), [(name, f"{count:,}") for name, count in report.pipelines.items()]),
            f"Right options by place (multiple choice): {places}.",
        )
    )


def _making(qa: QaSettings, facts: CardFacts) -> str:
    writer = qa.writer.get("name", "template")
    steps = [
        f"Images: {facts.lake}." if facts.lake else "",
        "Claims about each image were put to the model under test; a judge decided what happened to each.",
        "Of its failures a balanced selection was drawn by hash, and each was routed to a kind of question.",
        f"The writer `{writer}` made the questions (seed {qa.seed}, language {qa.language}).",
        "Wrong options are typed: neighbouring values, other classes in the image, the model's own wrong answer.",
    ]
    told = "\n".join(f"{number}. {step}" for number, step in enumerate(filter(None, steps), 1))
    funnel = [
        (stage, f"{counts.came_in:,}", f"{counts.went_out:,}", _counts(counts.dropped)) for stage, counts in facts.funnel.items()
    ]
    return told + (("\n\n" + table(("stage", "in", "out", "dropped, by reason"), funnel)) if funnel else "")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"


def _checks(report: DatasetReport, qa: QaSettings, facts: CardFacts) -> str:
    lines = [
        "- The answer is an option's key by construction; options are four and differ; the wording does not contain the answer.",
        "- `verified`: every option was held against a second view of the image (pixel labels and the handwriting's own labels):",
        "  the answer is true and all others are false.",
        "- No two questions ask the same about the same image.",
    ]
    if report.baseline.n:
        asked = f"{report.baseline.n:,}"
        lines.append(
            f"- Difficulty is measured: the model under test fails {_percent(report.baseline)} of {asked} final questions."
        )
        if qa.language != "en" and facts.baseline == "embedded":
            lines.append(
                "  **That figure means nothing here**: the embedded model reads English only, and it guessed at these questions."
            )
        if facts.moved:
            lines.append(f"- {facts.moved:,} questions had two options exchanged after it was asked, to even out the places.")
    rows = [
        (
            name,
            f"{told.n:,}",
            f"{told.right / told.n:.1%}",
            f"{told.chance:.1%}",
            f"{told.low:.1%} to {told.high:.1%}",
        )
        for name, told in facts.blind.items()
        if told.n and told.low is not None and told.high is not None and "/" not in name
    ]
    if rows:
        groups = {name: told for name, told in facts.blind.items() if "/" in name}
        leaking = [name for name, told in groups.items() if told.beats_chance]
        found = f"these beat chance: {', '.join(leaking)}" if leaking else "none beats chance"
        lines += [
            "- Without the picture, guessers trained on options alone and on all words (cross-validated) find this.",
            f"  They were also tried on {len(groups)} groups (pipeline and form, {SMALLEST_CELL} questions or more): {found}.",
        ]
        lines += ["", table(("questions", "n", "guessed right", "chance", "interval"), rows)]
    return "\n".join(lines)


def _rates(facts: CardFacts) -> str:
    rows = [(claim, f"{told.n:,}", f"{told.failures:,}", _percent(told)) for claim, told in facts.failure_rates.items() if told.n]
    return table(("claim", "asked", "failed", "rate (95 % interval)"), rows)


def _percent(told: RateSummary) -> str:
    if told.rate is None or told.low is None or told.high is None:
        return "unknown"
    return f"{told.rate:.1%} ({told.low:.1%} to {told.high:.1%})"


LINEAGE = (
    "Every row names its image (`lineage.image`: lake file, row, SHA-256), the outcome and the selection it came from, the "
    "failure id, what the model had answered (`lineage.baseline_answer`), what is right (`lineage.correct`), the image's "
    "factors, and how the question was made (`provenance`). Ids are hashes of content; the same run gives the same ids."
)


def _limits(report: DatasetReport) -> str:
    lines = [
        "- The questions follow one model's failures: nothing in here says how often such questions occur in the world.",
        "- The guessers without picture are statistical ones; they do not rule out what a language model might know.",
        "- `verified` means verified against the annotation's second view, so it is as good as that view.",
    ]
    if set(report.splits) - {"verified"}:
        lines.append(
            "- Rows that are not `verified` rest on a model's word or on nothing; they never share a file with verified ones."
        )
    return "\n".join(lines)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
