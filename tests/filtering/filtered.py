"""Filtering from end to end in this process: what the stage maps over workers."""

from __future__ import annotations

from pathlib import Path

from millrace.filtering.funnel import FilteringReport, checked_routes, quarantine_path, summarise
from millrace.filtering.outcome_files import input_files, plan_parts
from millrace.filtering.scan import scan_part
from millrace.filtering.selection import select_failures
from millrace.filtering.selection_shards import FetchImage, write_shard
from millrace.filtering.settings import FilteringSettings


def filter_outcomes(
    place: Path, out: Path, settings: FilteringSettings, *, fetch_image: FetchImage | None = None, part_bytes: int = 64 << 20
) -> FilteringReport:
    """Select, route and write.

    Args:
        place: a file of outcomes (JSON lines or array) or a folder of them.
        out: the folder of the shards.
        settings: see there.
        fetch_image: gives an image's bytes for `embed_images`.
        part_bytes: how the input is cut; has no influence on the result.

    Raises:
        InputError: nothing to read, or a failure id without a route.
        UsageError: the routing table or a quota is wrong.
    """
    routes = checked_routes(settings)
    parts = plan_parts(input_files(place), part_bytes)
    scans = [scan_part(part, seed=settings.seed, quarantine=quarantine_path(out, part)) for part in parts]
    selection = select_failures(scans, settings, routes)
    reports = [write_shard(plan, out / plan.name, routes, fetch_image=fetch_image) for plan in selection.shards]
    return summarise(selection, reports, settings, out)
