"""The stage `filtering`: outcomes → a balanced selection of failures, each routed to a question pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from millrace.errors import InputError
from millrace.filtering.settings import FilteringSettings
from millrace.records.summaries import FilteringSummary, ProbingSummary
from millrace.run.context import RunContext, Same
from millrace.run.folder import stored_config
from millrace.run.journal import read_record
from millrace.run.stage import Forecast, Stage

PART_BYTES = 64 << 20
"""How much of a file one task scans: at 400 MB a second much less than a task costs would not pay."""


@dataclass(frozen=True)
class Filtering(Stage):
    """Selects failures and routes each to the kind of question that exercises it."""

    config: FilteringSettings
    outcomes: Path | None = None
    """Outcomes from elsewhere, a file or a folder; None takes those of the run's folder."""
    annotation: str | None = None
    """The kind of annotation that the probing of the same flow reads; None where the run's folder knows it."""

    name = "filtering"
    summary_type = FilteringSummary
    feeds = ("qa",)

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        from millrace.filtering import funnel

        lines = funnel.plan_lines(self.config, self._kind(run_dir))
        if "probing" not in forecast.stages:
            return [f"outcomes: {self.outcomes or run_dir / 'probing'}", *lines]
        if forecast.failures is not None and forecast.images is not None:
            kinds = forecast.failure_ids
            forecast.selected = funnel.most_selected(self.config, forecast.failures, forecast.images, kinds)
        return lines

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`."""
        from millrace.filtering.funnel import checked_routes
        from millrace.filtering.outcome_files import input_files

        checked_routes(self.config, self._kind(run_dir))
        if self.outcomes is not None:
            input_files(self.outcomes)
            return
        probed = run_dir / "probing"
        if "probing" not in earlier and not ((probed / "summary.json").exists() and any(probed.glob("shard-*.jsonl"))):
            raise InputError(f"there are no finished outcomes in {probed}; run flows.probing there first, or set `input`")

    def _kind(self, run_dir: Path) -> str:
        from millrace.lake.annotations import kind_named_in

        return self.annotation or kind_named_in(stored_config(run_dir, "probing") or {})

    def run(self, run: RunContext, folder: Path) -> FilteringSummary:
        """Scan all outcomes → select → write shards."""
        from millrace.filtering.funnel import checked_routes, quarantine_path, summarise
        from millrace.filtering.outcome_files import input_files, plan_parts
        from millrace.filtering.scan import scan_part
        from millrace.filtering.selection import select_failures
        from millrace.filtering.selection_shards import write_selection

        settings = self.config
        outcomes = self.outcomes or run.folder.path / "probing"
        routes = checked_routes(settings, self._kind(run.folder.path))
        parts = plan_parts(input_files(outcomes), PART_BYTES)
        quarantine = [quarantine_path(folder, part) for part in parts]
        with run.progress.stage("filtering", len(parts), "parts scanned") as bar:
            scans = run.map(scan_part, parts, Same(settings.seed), quarantine, on_done=lambda scan: bar.advance())
        with run.timeline.work(self.name):
            selection = select_failures(scans, settings, routes)
        own = settings.embed_images and self.outcomes is None
        lake = read_record(outcomes / "summary.json", ProbingSummary).lake_folder if own else None
        paths = [folder / plan.name for plan in selection.shards]
        with run.progress.stage("routing", selection.kept, "failures") as bar:
            reports = run.map(
                write_selection,
                selection.shards,
                paths,
                Same(routes),
                Same(lake),
                on_done=lambda report: bar.advance(report.kept),
            )
        with run.timeline.work(self.name):
            funnel = summarise(selection, reports, settings, folder)
        return FilteringSummary(
            came_in=funnel.seen,
            went_out=funnel.kept,
            dropped=dict(funnel.dropped),
            balance=funnel.balance,
            shards=tuple(funnel.shards),
        )
