"""The verdict on the card of the dataset that the same run made: `RUN_DIR/dataset/README.md`.

What was trained on are the probed claims, not the dataset's questions about the same failures; the section says so.
"""

from __future__ import annotations

import re
from pathlib import Path

from millrace.records.results.improve import ImproveSummary
from millrace.run.journal import write_atomic

BEGIN, END = "<!-- improve: begin -->", "<!-- improve: end -->"
BEFORE = "## Limits"
"""The card's section that the verdict stands before."""
OLD = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}\n\n?", re.DOTALL)

ANSWERS = {
    "helps": "it helps",
    "harms": "it harms",
    "no_evidence": "no evidence that it helps",
}


def write_on_card(dataset: Path, summary: ImproveSummary) -> bool:
    """Put the verdict on the dataset's card, in place of an earlier one; returns whether there is a card."""
    card = dataset / "README.md"
    if not card.is_file():
        return False
    text = OLD.sub("", card.read_text(encoding="utf-8"))
    before, heading, after = text.partition(f"\n{BEFORE}\n")
    part = f"{BEGIN}\n{section(summary)}\n{END}\n"
    changed = f"{before}\n{part}\n{BEFORE}\n{after}" if heading else f"{text.rstrip()}\n\n{part}"
    write_atomic(card, changed)
    return True


def section(summary: ImproveSummary) -> str:
    """The section: two answers, what they rest on, and what was trained on."""
    answers = (
        f"The data: **{ANSWERS[summary.verdict]}**. Choosing it by failures, against as many records drawn at random: "
        f"**{ANSWERS[summary.targeting]}**."
    )
    measured = (
        f"Measured with {summary.models} trainings on {summary.records:,} records each, on {summary.images:,} images that no "
        f"model was trained on, by the plan `{summary.plan}`. The records are the probed claims with their verified answers, "
        "drawn from all that was asked about the probed images; the questions of this dataset were not trained on. "
        "`improve/report.html` has the figures, `millrace improve verify` computes them again."
    )
    because = [f"- {sentence}" for sentence in summary.because]
    return "\n".join(["## Does it help?", "", answers, "", *because, "", measured])
