"""What a run shows of itself while it goes on: its bar, and a text for whoever shows it (an artifact in the Prefect UI)."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from millrace.llm.estimate import ENOUGH_ANSWERS, paid_words
from millrace.llm.run_chats import ledger_of_run
from millrace.records.llm import LedgerRow
from millrace.records.synthesis_counts import ShardTally
from millrace.reporting import charts
from millrace.run.progress import Stage
from millrace.synthesis.runs.shard_plan import Plan
from millrace.synthesis.runs.tally import FOLDER, Tallies

RECENT_S = 30.0
"""The window of the present rate: long enough to even out seeds of different sizes, short enough to show a stall."""

LOOK_EVERY_S = 1.0
PUBLISH_EVERY_S = 5.0


@contextlib.contextmanager
def shown_live(plan: Plan, stage: Stage, run_dir: Path, show: Callable[[str], None]) -> Iterator[None]:
    """Keep the bar and a text up to date while the block runs, from what the workers leave in the run's folder.

    Args:
        plan: the shards.
        stage: the bar.
        run_dir: the run's folder.
        show: gets the text, every 5 s; called in a copy of this thread's context.
    """
    context = contextvars.copy_context()
    ended = threading.Event()
    live = Live(plan, stage, run_dir, show)
    thread = threading.Thread(target=context.run, args=(live.watch, ended), name="live", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:  # Ctrl-C for instance: nobody waits for an API now
        ended.set()
        thread.join(timeout=1)
        raise
    ended.set()
    thread.join(timeout=10)
    live.look()
    live.publish()


class Live:
    """Accept rate by reason, throughput, cost and time left, renewed while the run goes on. See `shown_live`."""

    def __init__(self, plan: Plan, stage: Stage, run_dir: Path, show: Callable[[str], None]) -> None:
        self.run_dir = run_dir
        self.stage = stage
        self.show = show
        self.tallies = Tallies(plan.ledger.parent / FOLDER)
        self.counts = self.tallies.read()
        self.pace = Pace(plan.seeds, self.counts.seeds)

    def watch(self, ended: threading.Event) -> None:
        """Look and publish until `ended` is set."""
        published = time.monotonic()
        while not ended.wait(LOOK_EVERY_S):
            self.look()
            if time.monotonic() - published >= PUBLISH_EVERY_S:
                self.publish()
                published = time.monotonic()

    def look(self) -> None:
        """Read how far the workers are."""
        with contextlib.suppress(OSError):
            self.counts = self.tallies.read()
        self.pace.update(self.counts.seeds)
        with contextlib.suppress(KeyError):  # the bar is gone: the run has ended in the meantime
            self.stage.update(min(self.counts.seeds, self.pace.seeds))

    def publish(self) -> None:
        """Hand the text over. What goes wrong here ends nothing: the folder is the truth of a run."""
        with contextlib.suppress(Exception):
            self.show(markdown(self.counts, self.pace, ledger_of_run(self.run_dir)))


class Pace:
    """How fast seeds are done: over this attempt, and of late."""

    def __init__(self, seeds: int, done: int, now: float | None = None) -> None:
        self.seeds = seeds
        self.done = self._at_start = done
        self._points: deque[tuple[float, int]] = deque([(time.monotonic() if now is None else now, done)])
        self._started = self._points[0][0]

    def update(self, done: int, now: float | None = None) -> None:
        """Take in how many seeds are done."""
        now = time.monotonic() if now is None else now
        self.done = done
        self._points.append((now, done))
        while len(self._points) > 2 and now - self._points[1][0] >= RECENT_S:
            self._points.popleft()

    @property
    def overall(self) -> float | None:
        """Seeds per second in this attempt; None before the first."""
        return _rate(self._points[-1][0] - self._started, self.done - self._at_start)

    @property
    def recent(self) -> float | None:
        """Seeds per second in the last `RECENT_S`; None before the first."""
        (before, had), (now, has) = self._points[0], self._points[-1]
        return _rate(now - before, has - had)

    @property
    def left_s(self) -> float | None:
        """Seconds to the end at the rate of this attempt, an estimate; None before the first seed is done."""
        rate = self.overall
        return (self.seeds - self.done) / rate if rate else None


def _rate(seconds: float, seeds: int) -> float | None:
    return seeds / seconds if seeds > 0 and seconds > 0 else None


def markdown(counts: ShardTally, pace: Pace, paid: Sequence[LedgerRow]) -> str:
    """The artifact: how far, how fast, what was accepted and why the rest was not, what it cost.

    Args:
        counts: the sum of the tallies.
        pace: how fast.
        paid: the ledger so far; empty where no model is asked.
    """
    tried = counts.items + counts.rejected
    accepted = charts.percent(counts.items / tried if tried else None, 1)
    lines = [
        "| | |",
        "|---|---|",
        f"| seeds done | {counts.seeds:,} of {pace.seeds:,} |",
        f"| seeds per second | {_per_second(pace.recent)} now, {_per_second(pace.overall)} since the start |",
        f"| left | {charts.duration(pace.left_s) if pace.left_s is not None else 'unknown'} (estimate) |",
        f"| questions kept so far | {_by_name(counts.statuses) or '0'} |",
        f"| accepted | {accepted} of {tried:,} candidates |",
        f"| seeds that failed | {_by_name(counts.failed) or '0'} |",
        f"| cost so far | {paid_words(paid)} |",
        *([f"| cost at the end | {at_the_end(pace, paid)} |"] if paid else []),
        "",
        "| why a candidate was rejected | candidates | share of all |",
        "|---|---|---|",
    ]
    for reason, count in sorted(counts.reasons.items(), key=lambda pair: (-pair[1], pair[0])):
        lines.append(f"| {charts.words(reason)} | {count:,} | {charts.percent(count / tried, 1)} |")
    if not counts.reasons:
        lines.append("| nothing was rejected so far | 0 | |")
    return "\n".join(lines) + "\n\nDuplicates and answers given too often are taken out at the end, over the whole run.\n"


def at_the_end(pace: Pace, paid: Sequence[LedgerRow]) -> str:
    """What the whole run will have cost, by what its answers so far took; counted from the first `ENOUGH_ANSWERS` on."""
    dollars, calls = sum(row.cost_usd for row in paid), sum(row.calls for row in paid)
    if not dollars or calls < ENOUGH_ANSWERS or not pace.done or any(row.unknown_cost for row in paid):
        return "unknown"
    return f"about ${dollars * pace.seeds / pace.done:,.2f} (estimate, by {calls:,} answers for {pace.done:,} seeds)"


def _per_second(rate: float | None) -> str:
    return "unknown" if rate is None else f"{rate:.2f}"


def _by_name(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {charts.words(name)}" for name, count in sorted(counts.items()))
