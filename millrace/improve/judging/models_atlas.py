"""The atlas of an experiment: what the base and a model of each arm said about the same test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from millrace.improve.judging.judged import Judged, Key, read_outcomes
from millrace.improve.judging.report import answer_in_words
from millrace.improve.plan import BASE
from millrace.lake.reader import LakeReader
from millrace.records.lake import ImageRef
from millrace.records.outcome import FAILURES, OutcomeRecord
from millrace.reporting.atlas.page import write_atlas
from millrace.reporting.atlas.samples import Dimension, Sample

MOST_IMAGES = 300
"""Test images: some ten thousand samples with six models."""


def write_models_atlas(folder: Path, judged: Judged, models: Sequence[str], lake: Path) -> Path:
    """Write the atlas into the experiment's folder.

    Args:
        folder: `RUN_DIR/improve`.
        judged: what was decided for every model.
        models: all of them but the base (`targeted-0`); of each arm the first is shown.
        lake: where the test images are.
    """
    first: dict[str, str] = {}
    for model in models:
        first.setdefault(model.rpartition("-")[0], model)
    shown = {BASE: BASE, **first}
    dimensions = [
        Dimension("arm", "Model", titles={BASE: "before training"}),
        Dimension("change", "Against the base"),
        Dimension("outcome", "Outcome", groups={"failures": sorted(FAILURES)}, colours=True),
        Dimension("claim", "Claim"),
        Dimension("factor", "Factor"),
    ]
    outcomes = {arm: read_outcomes(folder / "probes" / model) for arm, model in shown.items()}
    samples = _samples(judged.keys, outcomes)
    return write_atlas(folder, samples, dimensions, [LakeReader(lake)], title="What each model said", most_images=MOST_IMAGES)


def _samples(keys: Sequence[Key], outcomes: Mapping[str, Mapping[Key, OutcomeRecord]]) -> Iterator[Sample]:
    for key in keys:
        before = outcomes[BASE][key]
        for arm, found in outcomes.items():
            record = found[key]
            failed, failed_before = record.outcome in FAILURES, before.outcome in FAILURES
            change = "the same" if failed == failed_before else "worse" if failed else "better"
            correct = record.judge.correct if record.judge is not None else {}
            image = record.image
            yield Sample(
                ImageRef(image.image_id, image.file, image.row, image.sha256 or ""),
                {
                    "arm": arm,
                    "change": change,
                    "outcome": record.outcome.value,
                    "claim": record.claim_id,
                    "factor": record.factors or ("none",),
                },
                record.claim,
                (
                    ("The base", answer_in_words(before)),
                    ("This model", answer_in_words(record)),
                    ("Right is", ", ".join(correct.values()) or "does not apply"),
                ),
            )
