"""Runs of probing made by hand: small journals whose figures a person can count."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from millrace.compare.results import finish, sides_in
from millrace.compare.settings import CompareSettings
from millrace.compare.stage import Compare
from millrace.probing.how_asked import HowAsked
from millrace.probing.settings import ProbingConfig
from millrace.records.outcome import FAILURES
from millrace.records.summaries import ProbingSummary
from millrace.run.folder import RunFolder
from millrace.run.journal import read_json, write_json, write_jsonl
from millrace.run.local import open_local_run
from millrace.run.reopening import take_up
from millrace.run.stage import check_in_order

CLAIMS = ("counting", "position")
Outcomes = Callable[[int, str], str | None]
"""From the number of an image and a claim to the outcome; None: not asked."""


def outcome(image: int, claim: str, outcome: str, *, model: str = "m", subject: str = "red", **other: Any) -> dict[str, Any]:
    """A line of the journal."""
    failed = outcome in FAILURES
    return {
        "kind": "outcome",
        "id": f"out_{model}_{image}_{claim}_{subject}",
        "schema": "millrace.outcome/1",
        "image": {
            "image_id": f"img{image}",
            "file": "a.parquet",
            "row": image,
            "sha256": f"{image:016x}",
            "width": 8,
            "height": 8,
        },
        "claim_id": claim,
        "claim_set": "c" * 64,
        "claim": f"The number of {subject} digits is [COUNT].",
        "prefilled": {"OBJECT": subject},
        "selectors": {"OBJECT": {"colour": subject}},
        "answerable": True,
        "outcome": outcome,
        "failure_id": "miscount" if failed else None,
        "baseline": {"name": model, "fingerprint": f"f{model}", "related": True, "values": {"COUNT": "3" if failed else "2"}},
        "judge": {"by": "rules", "kind": "verified", "correct": {"COUNT": "2"}, "accepted": {}, "explanation": ""},
        "factors": ["dark"] if image % 4 == 0 else [],
        "error": None,
        **other,
    }


def journal(images: Iterable[int], outcomes: Outcomes, claims: Iterable[str] = CLAIMS, model: str = "m") -> list[dict[str, Any]]:
    """The lines of a probing."""
    asked = [(image, claim, outcomes(image, claim)) for image in images for claim in claims]
    return [outcome(image, claim, what, model=model) for image, claim, what in asked if what is not None]


def made_run(folder: Path, lines: list[dict[str, Any]], **settings: Any) -> Path:
    """A finished run of probing with these lines."""
    config = ProbingConfig(**{"target_failure_count": None, "baseline": {"name": "guess"}, **settings})
    (folder / "probing").mkdir(parents=True)
    write_json(folder / "config.json", {"probing": config.model_dump(mode="json")})
    write_json(folder / "manifest.json", {"schema": "millrace.run/1", "flows": {"probing": {"state": "finished"}}})
    half = len(lines) // 2
    write_jsonl(folder / "probing" / "shard-00000.jsonl", lines[:half])
    write_jsonl(folder / "probing" / "shard-00001.jsonl", lines[half:])
    images = len({line["image"]["image_id"] for line in lines})
    write_json(folder / "probing" / "summary.json", probing_summary(folder / "lake", images))
    return folder


def probing_summary(lake: Path, images: int) -> ProbingSummary:
    """Of a probing whose counts nobody reads."""
    none: dict[str, int] = {}
    return ProbingSummary(
        stop="exhausted",
        images=images,
        came_in=0,
        went_out=0,
        failures=0,
        dropped=none,
        outcomes=none,
        claims={},
        factors={},
        shards=2,
        lake=str(lake),
    )


def two_runs(folder: Path, before: Outcomes, after: Outcomes, images: int = 40) -> tuple[Path, Path]:
    """Two runs on the same images and claims."""
    return (
        made_run(folder / "a", journal(range(images), before, model="one")),
        made_run(folder / "b", journal(range(images), after, model="two")),
    )


def settings_of(before: Path, after: Path, **settings: Any) -> CompareSettings:
    """What compares two runs."""
    return CompareSettings.model_validate({"draws": 300, **settings, "before": {"run": before}, "after": {"run": after}})


def compared(run_dir: Path, before: Path, after: Path, **settings: Any) -> dict[str, Any]:
    """Compare two runs in this process, as the flow does; returns what `summary.json` holds."""
    chosen = settings_of(before, after, **settings)
    stage = Compare(chosen, HowAsked())
    check_in_order([stage], run_dir)
    take_up([stage], run_dir)
    with open_local_run("compare", {"compare": chosen}, run_dir) as run:
        run.do(stage)
        finish(run, chosen, HowAsked(), sides_in(run_dir, chosen))
        run.finish([stage])
    return dict(read_json(run_dir / "summary.json"))


def state_of(run_dir: Path) -> str | None:
    """How the comparison stands."""
    return RunFolder(run_dir).state_of("compare")
