"""One progress bar for a run: stage, done of total, rate, ETA in the terminal, the same counts for other displays.

In a terminal it is a live bar; where the output goes to a file it is one line per stage and nothing between.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from millrace.run.counted import counted


class Progress:
    """The bar of one run; use as a context manager, one `stage` after the other.

    Args:
        title: the flow's name.
        on_show: called with a stage, and whether this is its last count, whenever a count changes.
    """

    def __init__(self, title: str, *, on_show: Callable[[Stage, bool], None] = lambda stage, final: None) -> None:
        self.title = title
        self.on_show = on_show
        self.console = Console(file=sys.stderr)
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
        """Show `name` while the block runs; prints its count and duration when the block ends without an error."""
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
            self.say(f"{name}: {counted(stage.done, unit)} in {took:.1f} s{stage.note and f' ({stage.note})'}")


class Stage:
    """One stage's count. `done` and `total` may be set at will; `note` is printed at the end."""

    def __init__(self, progress: Progress, name: str, total: int, unit: str) -> None:
        self.progress = progress
        self.name = name
        self.total = total
        self.unit = unit
        self.done = 0
        self.note = ""
        self.started = time.monotonic()
        self.task = progress._bar.add_task(name, total=total or None, unit=unit, rate="")

    def advance(self, by: int = 1) -> None:
        """Count `by` more as done."""
        self.update(self.done + by)

    def update(self, done: int, total: int | None = None) -> None:
        """Set what is done (and of how many)."""
        self.done = done
        self.total = self.total if total is None else total
        self.show()

    def show(self, *, final: bool = False) -> None:
        """Update the bar and call `on_show`."""
        took = time.monotonic() - self.started
        rate = f"{self.done / took:,.1f}/s" if self.done and took > 0.5 else ""
        self.progress._bar.update(self.task, completed=self.done, total=self.total or None, rate=rate)
        if self.done or self.total:
            self.progress.on_show(self, final)
