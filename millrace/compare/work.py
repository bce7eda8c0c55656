"""The work of the stage `compare`: two probings → pairs → figures, each written down."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

from millrace.compare.asked import HowAsked
from millrace.compare.figures import figures_of
from millrace.compare.matching import matched
from millrace.compare.pairing import Pairing
from millrace.compare.runs import Side, read_side
from millrace.compare.settings import CompareSettings
from millrace.compare.verdict import conclude
from millrace.records.results.compare import CompareStageSummary, SideFacts
from millrace.run.journal import write_jsonl

PAIRS_PER_SHARD = 5000
"""Lines in a journal of pairs: about two megabytes."""

LEFT_OUT = "left-out.jsonl"


def compare_sides(
    before: Side, after: Side, settings: CompareSettings, how: HowAsked, folder: Path, on_step: Callable[[int], object]
) -> CompareStageSummary:
    """Compare two finished probings; returns the stage's summary.

    Everything is computed from the two journals each time, so a resumed run ends with the same files.

    Args:
        before: the first.
        after: the second.
        settings: level, margin, draws, seed.
        how: reads how they were probed.
        folder: the stage's; gets the journal of pairs and what was left out.
        on_step: called with how many of three steps are done.

    Raises:
        InputError: they can't be compared.
    """
    pairing = matched(before, after, how, settings.claims)
    on_step(1)
    shards = _write(pairing, folder)
    on_step(2)
    claims = sorted({pair.claim_id for pair in pairing.pairs} | {one.claim_id for one in pairing.left_out})
    figures = figures_of(pairing.pairs, claims, settings)
    labels = labels_of(before, after, settings, how)
    names = how.claims(before.config)
    conclusion = conclude(figures, settings, labels, {claim: name for claim, (name, _) in names.items()})
    on_step(3)
    flips = [pair.record.flip for pair in pairing.pairs]
    return CompareStageSummary(
        verdict=conclusion.verdict,
        no_harm=conclusion.no_harm,
        says=(conclusion.title, *conclusion.sentences),
        came_in=len(pairing.pairs) + len(pairing.left_out),
        went_out=len(pairing.pairs),
        dropped=pairing.reasons,
        images=figures.whole.images,
        flips={kind: flips.count(kind) for kind in ("worse", "better")},
        whole=figures.whole,
        claims=figures.claims,
        factors=figures.factors,
        outcomes=figures.outcomes,
        sides={side.name: _facts(side, label) for side, label in zip((before, after), labels, strict=True)},
        differing=tuple(how.differences(before.config, after.config)),
        shards=shards,
    )


def labels_of(before: Side, after: Side, settings: CompareSettings, how: HowAsked) -> tuple[str, str]:
    """What the two models are called: as the settings say, else by their names, and by what differs between the two."""
    names = [_model(side)[0] or str(side.config.get("baseline", {}).get("name", "?")) for side in (before, after)]
    if names[0] == names[1]:
        differing = [one for one in how.differences(before.config, after.config) if one[0].startswith("probing.baseline.")]
        if differing:
            field = differing[0][0].removeprefix("probing.baseline.")
            names = [f"{names[place]} ({field} {differing[0][place + 1]})" for place in (0, 1)]
        elif before.shown != after.shown:
            names = [f"{name} in {Path(side.shown).name}" for name, side in zip(names, (before, after), strict=True)]
    return settings.before.label or names[0], settings.after.label or names[1]


def power_lines(settings: CompareSettings, claims: int, images: int | None) -> list[str]:
    """How many images the comparison takes, said before it is made.

    Args:
        settings: which difference matters, and what is expected of the two models.
        claims: how many are compared.
        images: how many there will be; None: not known.
    """
    from millrace.reporting.charts import number, points
    from millrace.statistics.power import pairs_for_no_harm, pairs_to_see, smallest_seen

    noise = {
        "discordance": settings.expected_discordance,
        "alpha": settings.alpha,
        "effect": settings.expected_design_effect,
    }
    needed = pairs_to_see(settings.difference, tests=claims, **noise)
    harmless = pairs_for_no_harm(settings.margin, **noise)
    expected = (
        f"{settings.expected_discordance:.0%} of the claims answered otherwise, design effect {settings.expected_design_effect:g}"
    )
    wanted, margin = points(settings.difference, signed=False), points(settings.margin, signed=False)
    see = f"to see {wanted} in one of {claims} claims (chance 80 %, Holm) takes {number(needed)} images with that claim"
    lines = [f"power: {see}; to exclude a rise by {margin} takes {number(harmless)} (expected: {expected})"]
    if images:
        seen = smallest_seen(images, tests=claims, **noise)
        lines.append(
            f"power: {number(images)} images show {points(seen, signed=False) if seen else 'no difference'} in one claim"
        )
    return lines


def _write(pairing: Pairing, folder: Path) -> int:
    shards = 0
    records = (pair.record for pair in pairing.pairs)
    while batch := list(itertools.islice(records, PAIRS_PER_SHARD)):
        write_jsonl(folder / f"shard-{shards:05d}.jsonl", batch)
        shards += 1
    for stale in folder.glob("shard-*.jsonl"):
        if int(stale.stem.removeprefix("shard-")) >= shards:
            stale.unlink()
    write_jsonl(folder / LEFT_OUT, pairing.left_out)
    return shards


def _facts(side: Side, label: str) -> SideFacts:
    model, fingerprint = _model(side)
    return SideFacts(
        label=label,
        model=model,
        fingerprint=fingerprint,
        folder=str(side.folder.absolute()),
        sha256=side.sha256(),
        target_failure_count=side.config.get("target_failure_count"),
    )


def _model(side: Side) -> tuple[str, str]:
    """(name, fingerprint) of the model that answered first."""
    for asked in read_side(side):
        if asked.line.baseline is not None:
            return asked.line.baseline.name, asked.line.baseline.fingerprint
    return "", ""
