"""Filtering from end to end: what a flow maps over workers, and the same in one process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from millrace.errors import UsageError, did_you_mean
from millrace.filtering.outcome_files import Part
from millrace.filtering.routing import Routes, load_routes
from millrace.filtering.selection import Selection
from millrace.filtering.selection_shards import ShardReport, write_array
from millrace.filtering.settings import PRIORITY_WEIGHTS, FilteringSettings
from millrace.lake.annotations import ANY
from millrace.records.summaries import Balance
from millrace.run.counted import counted


class FilteringReport(msgspec.Struct):
    """The funnel of the filtering: `seen == kept + sum(dropped.values())`."""

    seen: int
    kept: int
    dropped: dict[str, int]
    balance: dict[str, Balance]
    """By failure id."""
    shards: list[str]


def checked_routes(settings: FilteringSettings, annotation: str = ANY) -> Routes:
    """The routing table of `settings`, and a look at the failure ids that its quotas and weights name.

    Args:
        settings: see there.
        annotation: the kind of annotation that the images have, which may add question pipelines.

    Raises:
        UsageError: the table is wrong, or a quota or weight is given for a failure id that has no row in it.
    """
    routes = load_routes(settings.routes, annotation)
    for field in ("quotas", "weights"):
        for name in getattr(settings, field):
            if name not in routes.by_failure and name not in PRIORITY_WEIGHTS:
                hint = did_you_mean(name, routes.by_failure)
                raise UsageError(f"{field} names the failure id '{name}', which has no row in {routes.where}{hint}")
    return routes


def most_selected(settings: FilteringSettings, failures: int, images: int, failure_ids: Sequence[str]) -> int:
    """How many of so many failures of these kinds, on so many images, are selected at most."""
    limits = [settings.quotas.get(name, settings.quota) for name in set(failure_ids)]
    most = [failures]
    if None not in limits:
        most.append(sum(limit for limit in limits if limit is not None))
    if settings.total is not None:
        most.append(settings.total)
    if settings.failures_per_image is not None:
        most.append(images * settings.failures_per_image)
    return min(most)


def quarantine_path(out: Path, part: Part) -> Path:
    """Where the unreadable records of a part are listed."""
    return out / "quarantine" / f"{part.name}.jsonl"


def summarise(selection: Selection, reports: Sequence[ShardReport], settings: FilteringSettings, out: Path) -> FilteringReport:
    """Add up what the shards report; writes selection.json when the settings ask for an array."""
    dropped = Counter(selection.dropped)
    for report in reports:
        dropped.update(report.dropped)
    paths = [Path(report.path) for report in reports]
    if settings.output_format == "json":
        write_array(paths, out / "selection.json")
    kept = sum(report.kept for report in reports)
    return FilteringReport(selection.seen, kept, dict(sorted(dropped.items())), selection.balance, [str(path) for path in paths])


def plan_lines(settings: FilteringSettings, annotation: str = ANY) -> list[str]:
    """What the stage will do, for `--dry-run`."""
    limits = [f"{settings.failures_per_image or 'all'} per image"]
    limits += [f"{settings.quota} per failure id"] if settings.quota else []
    limits += [f"{settings.total} altogether"] if settings.total else []
    routes = checked_routes(settings, annotation)
    pipelines = len({route.pipeline_type for route in routes.by_failure.values()})
    ids = f"{counted(len(routes.by_failure), 'failure ids')} {'goes' if len(routes.by_failure) == 1 else 'go'}"
    return [f"filtering: keep {', '.join(limits)}; {ids} to {counted(pipelines, 'question pipelines')}"]
