"""From a failure id to the question pipeline that makes data against it: a strict table, read from YAML or JSON."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

from millrace.config import read_mapping
from millrace.errors import UsageError, did_you_mean
from millrace.lake.annotations import ANY, added_pipelines
from millrace.plugins.loading import plugin_files

PACKAGE = "millrace.filtering.routes"

PIPELINES = (
    "visual_recognition",
    "question",
    "caption",
    "place_recognition",
    "text_association",
    "object_proportion",
    "object_position",
    "object_relative_position",
    "object_absence",
    "object_orientation",
    "object_counting",
    "object_intra_class_instance_positioning",
    "object_presence",
)
"""The shipped question pipelines that a failure can be sent to; kinds of annotations may add some."""

log = logging.getLogger(__name__)


class Route(NamedTuple):
    """Where a failure goes: the pipeline's key and its display name."""

    pipeline_type: str
    pipeline_name: str


class Routes(NamedTuple):
    """A routing table and where it was read from, for messages."""

    by_failure: dict[str, Route]
    where: str


def route_names() -> list[str]:
    """The tables in millrace/filtering/routes and of its entry points."""
    return list(plugin_files(PACKAGE, "yaml"))


def load_routes(name_or_path: str, annotation: str = ANY) -> Routes:
    """Read a routing table: a shipped one by name, or a YAML or JSON file of the user's (the original's JSON as it is).

    `annotation` is the kind of annotation that the lake's images have; it may add question pipelines.

    Raises:
        UsageError: no such table, a row without failure id or pipeline, a pipeline that does not exist, one failure id twice.
    """
    if name_or_path in route_names():
        path = plugin_files(PACKAGE, "yaml")[name_or_path]
    elif name_or_path.endswith((".yaml", ".yml", ".json")) or "/" in name_or_path:
        path = Path(name_or_path)
    else:
        raise UsageError(f"no routing table named '{name_or_path}'{did_you_mean(name_or_path, route_names())}, or give a path")
    return parse_routes(read_mapping(path), where=str(path), annotation=annotation)


def parse_routes(data: dict[str, Any], *, where: str, annotation: str = ANY) -> Routes:
    """Check a routing table's content; `where` is named in messages. See `load_routes`."""
    for key in data.keys() - {"version", "description", "pipelines"}:
        if key in ("default_pipeline_type", "default_pipeline_name"):
            # The original sends what it does not know to "unknown", which later means every pipeline. Here nothing is unknown.
            log.warning("%s: %s is not used; unknown_failure decides about failure ids without a row", where, key)
        else:
            raise UsageError(f"{where}: unknown key '{key}'{did_you_mean(key, ('version', 'description', 'pipelines'))}")
    rows = data.get("pipelines")
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{where}: 'pipelines' must be a list of rows with failure_id, pipeline_type and pipeline_name")
    known = (*PIPELINES, *added_pipelines(annotation))
    routes: dict[str, Route] = {}
    for number, row in enumerate(rows, 1):
        failure_id, route = _row(row, f"{where}, row {number}", known)
        if failure_id in routes and routes[failure_id] != route:
            raise UsageError(f"{where}, row {number}: '{failure_id}' already goes to '{routes[failure_id].pipeline_type}'")
        routes[failure_id] = route
    return Routes(routes, where)


def _row(row: Any, where: str, known: tuple[str, ...]) -> tuple[str, Route]:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: must be a mapping with failure_id, pipeline_type and pipeline_name")
    failure_id = row.get("failure_id") or row.get("failure_key")
    pipeline = row.get("pipeline_type")
    for key in row.keys() - {"failure_id", "failure_key", "pipeline_type", "pipeline_name"}:
        raise UsageError(f"{where}: unknown key '{key}'{did_you_mean(key, ('failure_id', 'pipeline_type', 'pipeline_name'))}")
    if not isinstance(failure_id, str) or not failure_id:
        raise UsageError(f"{where}: 'failure_id' is missing")
    if pipeline not in known:
        raise UsageError(f"{where}: no question pipeline named '{pipeline}'{did_you_mean(str(pipeline), known)}")
    return failure_id, Route(pipeline, str(row.get("pipeline_name") or pipeline.replace("_", " ").title() + " Pipeline"))
