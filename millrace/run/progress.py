"""One progress bar for a run: stage, done of total, rate, ETA in the terminal, the same counts for other displays.

In a terminal it is a live bar; where the output goes to a file it is one line per stage and nothing between. Where a run asks
chat models, both say what that took: calls, tokens, dollars, and which share of requests had to be sent again.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.text import Text

from millrace.run.counted import counted

SPENT_EVERY_S = 2.0
"""How often the bar looks at what was spent."""


class Spent(NamedTuple):
    """What was asked of chat models."""

    calls: int = 0
    """Answers paid for."""
    requests: int = 0
    """Requests sent for them, refused and failed ones included."""
    tokens: int = 0
    """In and out, as far as servers count them."""
    usd: float = 0.0
    """US dollars, of the calls whose cost is known."""
    unknown_cost: int = 0
    """Calls whose cost is not known."""

    def plus(self, other: Spent) -> Spent:
        """Both."""
        return self._with(other, 1)

    def since(self, before: Spent) -> Spent:
        """What came after `before`."""
        return self._with(before, -1)

    def _with(self, other: Spent, sign: int) -> Spent:
        return Spent(
            self.calls + sign * other.calls,
            self.requests + sign * other.requests,
            self.tokens + sign * other.tokens,
            self.usd + sign * other.usd,
            self.unknown_cost + sign * other.unknown_cost,
        )

    def words(self) -> str:
        """`315 calls, 402 thousand tokens, $0.02, 3% sent again`; "" for nothing."""
        if not self.calls:
            return ""
        said = [counted(self.calls, "calls"), f"{_rounded(self.tokens)} tokens"]
        said.append(f"{'at least ' if self.unknown_cost else ''}${self.usd:,.2f}" if self.usd else "")
        again = max(0, self.requests - self.calls) / max(1, self.requests)
        said.append(f"{again:.0%} sent again" if again >= 0.005 else "")
        return ", ".join(word for word in said if word)


def _rounded(tokens: int) -> str:
    for size, noun in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand")):
        if tokens >= size:
            return f"{tokens / size:.1f} {noun}" if tokens < 10 * size else f"{tokens / size:.0f} {noun}"
    return str(tokens)


class SpentColumn(ProgressColumn):
    """What was spent since the bar began."""

    max_refresh = SPENT_EVERY_S

    def __init__(self, words: Callable[[], str]) -> None:
        super().__init__()
        self._words = words

    def render(self, task: Task) -> Text:
        """The words, dim."""
        return Text(self._words(), style="dim")


class Progress:
    """The bar of one run; use as a context manager, one `stage` after the other.

    Args:
        title: the flow's name.
        on_show: called with a stage, and whether this is its last count, whenever a count changes.
        spent: what the run has asked of chat models so far; called again and again, from any thread.
    """

    def __init__(
        self,
        title: str,
        *,
        on_show: Callable[[Stage, bool], None] = lambda stage, final: None,
        spent: Callable[[], Spent] = Spent,
    ) -> None:
        self.title = title
        self.on_show = on_show
        self.spent = spent
        self._began = spent()
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
            SpentColumn(lambda: self.spent().since(self._began).words()),
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
        before = self.spent()
        try:
            yield stage
        except BaseException:
            self._bar.remove_task(stage.task)
            raise
        stage.show(final=True)
        self._bar.remove_task(stage.task)
        took = time.monotonic() - stage.started
        if stage.done or stage.total:
            notes = "; ".join(note for note in (stage.note, self.spent().since(before).words()) if note)
            self.say(f"{name}: {counted(stage.done, unit)} in {took:.1f} s{notes and f' ({notes})'}")


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
