"""One progress bar for a run: stage, done of total, rate, ETA in the terminal, and the same as an artifact in the Prefect UI.

In a terminal it is a live bar; where the output goes to a file it is one line per stage and nothing between.
"""

from __future__ import annotations

import contextlib
import contextvars
import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

ARTIFACT_EVERY_S = 2.0
"""The UI polls; an update costs an HTTP call of some 10 ms."""


class Progress:
    """The bar of one run; use as a context manager, one `stage` after the other.

    Args:
        title: the flow's name.
        artifacts: whether to keep a progress artifact in Prefect up to date (needs a flow run around it).
    """

    def __init__(self, title: str, *, artifacts: bool = False) -> None:
        self.title = title
        self.artifacts = artifacts
        self.console = Console(file=sys.stderr)
        # stages are subflows and counts may come from other threads: all artifacts belong to the run that this was made in
        self.context = contextvars.copy_context()
        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TextColumn("[dim]{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("[dim]left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        self.console.print(f"{self.title}: {line}", highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        """Show `name` while the block runs; says what came of it when it ends well."""
        stage = Stage(self, name, total, unit)
        try:
            yield stage
        except BaseException:
            self._bar.remove_task(stage.task)
            raise
        stage.show(final=True)
        self._bar.remove_task(stage.task)
        took = time.monotonic() - stage.started
        if stage.done or stage.total:
            self.say(f"{name}: {stage.done:,} {unit} in {took:.1f} s{stage.note and f' ({stage.note})'}")


class Stage:
    """One stage's count. `done` and `total` may be set at will; `note` is said at the end."""

    def __init__(self, progress: Progress, name: str, total: int, unit: str) -> None:
        self.progress = progress
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.note = ""
        self.started = time.monotonic()
        self.task = progress._bar.add_task(name, total=total or None, unit=unit, rate="")
        self._artifact: UUID | None = None
        self._shown_at = 0.0

    def advance(self, by: int = 1) -> None:
        """Count `by` more as done."""
        self.update(self.done + by)

    def update(self, done: int, total: int | None = None) -> None:
        """Set what is done (and of how many)."""
        self.done = done
        self.total = self.total if total is None else total
        self.show()

    def show(self, *, final: bool = False) -> None:
        """Bring the bar and, every 2 s, the artifact up to date."""
        took = time.monotonic() - self.started
        rate = f"{self.done / took:,.1f}/s" if self.done and took > 0.5 else ""
        self.progress._bar.update(self.task, completed=self.done, total=self.total or None, rate=rate)
        if (
            self.progress.artifacts
            and (self.done or self.total)
            and (final or time.monotonic() - self._shown_at > ARTIFACT_EVERY_S)
        ):
            self._shown_at = time.monotonic()
            self.progress.context.copy().run(self._show_artifact)

    def _show_artifact(self) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        share = min(100.0, 100.0 * self.done / self.total) if self.total else 0.0
        text = f"{self.name}: {self.done:,} of {self.total:,} {self.unit}"
        # showing progress must never end a run: the folder, not the API, is the truth of it
        with contextlib.suppress(Exception):
            if self._artifact is None:
                key = f"{self.progress.title}-{self.name}".lower().replace(" ", "-").replace("_", "-")
                created: Any = create_progress_artifact(progress=share, key=key, description=text)
                self._artifact = created
            else:
                changed: Any = update_progress_artifact(artifact_id=self._artifact, progress=share, description=text)
                del changed
