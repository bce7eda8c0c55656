"""The tables of the training report as data: columns and cells, so that one piece of the page lays all of them out.

On a wide screen they are tables; on a narrow one each row becomes a block of labelled lines, and nothing has to be pushed aside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from millrace.records.training.attempt import known
from millrace.records.training.comparison import Difference, Ratio, Throughput
from millrace.records.training.mean import Mean
from millrace.records.training.report import Nothing, ReportedRun, TrainingReport

UNKNOWN = "not measured"
_LONG = re.compile(r"\d+\.\d{5,}(?:e[+-]?\d+)?|\d\.\d+e[+-]?\d+")


@dataclass(frozen=True)
class Table:
    """`rows` hold as many cells as there are columns; the first cell names the row. Cells that are not Markup get escaped."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: frozenset[int] = frozenset()
    """The columns that hold words, by number; the others hold figures. The first always holds words."""
    empty: str = ""
    """What to say when there are no rows."""


def figure(value: float | None, unit: str = "", digits: int = 3) -> str:
    """A number with its unit; unknown is said in words."""
    if value is None:
        return UNKNOWN
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return f"{text}\u00a0{unit}".strip()


def seconds(value: float | None) -> str:
    """A duration."""
    if value is None:
        return UNKNOWN
    return figure(value, "s") if value < 120 else f"{int(value // 60)}\u00a0min {int(value % 60)}\u00a0s"


def percent(value: float | None) -> str:
    """A share."""
    return UNKNOWN if value is None else f"{100 * value:.0f}\u00a0%"


def brief(title: str) -> str:
    """A run's title with its long numbers cut to 4 digits; the exact ones stand in the table of runs."""
    return _LONG.sub(lambda found: f"{float(found[0]):.4g}", title)


def ends(found: Ratio | Difference | Throughput | Mean, *, sign: bool = False) -> str:
    """An interval; in words why there is none."""
    if known(found.low) is None:
        return known(found.reason) or UNKNOWN
    low, high = (f"{end:{'+' if sign else ''}.3g}" for end in (found.low, found.high))
    return f"{low}\u00a0to\u00a0{high}"


def comparisons(data: TrainingReport) -> dict[str, Table]:
    """Foreground beside backgrounds: the slowdown, what is learned, what it costs."""
    found = data.comparisons
    slowdown = [
        [
            one.title,
            figure(one.slowdown.estimate),
            ends(one.slowdown),
            str(one.slowdown.pairs),
            f"{figure(one.epoch_s.solo, 's')} → {figure(one.epoch_s.shared, 's')}",
            f"{figure(one.epoch_cpu_s.solo, 's')} → {figure(one.epoch_cpu_s.shared, 's')}",
            figure(one.throughput.sum),
            ends(one.throughput),
            percent(one.overlap),
        ]
        for one in found
    ]
    learned = [
        [one.title, name.replace("_", " "), _signed(diff.estimate), ends(diff, sign=True), str(diff.blocks)]
        for one in found
        for name, diff in one.metric_difference.items()
    ]
    cost = [
        [
            one.title,
            figure(one.epoch_energy_j.solo, "J"),
            figure(one.epoch_energy_j.shared, "J"),
            figure(one.epoch_energy_j.one_after_the_other, "J"),
            figure(one.epoch_s.shared, "s"),
            figure(one.epoch_wall_s_one_after_the_other, "s"),
        ]
        for one in found
    ]
    times = ("epoch, solo → shared", "CPU, solo → shared")
    return {
        "slowdown": Table(
            ("Run", "slowdown", "95 % interval", "pairs", *times, "throughput, sum", "its interval", "overlap"),
            slowdown,
        ),
        "learned": Table(("Run", "metric", "shared − solo", "95 % interval", "blocks"), learned, frozenset({1})),
        "cost": Table(
            ("Run", "energy, solo", "energy, shared", "energy, one after the other", "time, shared", "time, one after the other"),
            cost,
        ),
    }


RULES = {"time_share": "CPU time", "increment": "increment over solo", "shapley": "Shapley"}


def cards(data: TrainingReport) -> dict[str, Table]:
    """The colocation cards: what an epoch costs alone and beside the backgrounds, and whose joules they are by each rule."""
    labels = {run.id: run.label or run.title for run in data.runs}
    cost = [
        [
            labels[card.run],
            figure(card.slowdown.estimate),
            ends(card.slowdown),
            *_mean(card.solo_j),
            *_mean(card.shared_j),
            *_mean(card.increase_j, sign=True),
            known(card.reason) or "",
        ]
        for card in data.colocation
    ]
    shares = [
        [labels[card.run], RULES[share.rule], *_mean(share.foreground_j), *_mean(share.background_j)]
        for card in data.colocation
        for share in card.shares
    ]
    bounds = [
        [
            labels[card.run],
            f"{between(card.foreground_between_j)}",
            f"{between(card.background_between_j)}",
            figure(card.shared_j.estimate, "J"),
            figure(card.background_alone_j.estimate, "J"),
        ]
        for card in data.colocation
        if card.shares
    ]
    interval = "95 % interval"
    each = ("solo", interval, "shared", interval, "shared − solo", interval)
    return {
        "cost": Table(("Run", "slowdown", interval, *each, "remark"), cost, frozenset({9})),
        "shares": Table(("Run", "rule", "foreground", interval, "backgrounds", interval), shares, frozenset({1})),
        "bounds": Table(("Run", "foreground", "backgrounds", "together, by the meter", "the backgrounds' work alone"), bounds),
    }


def between(bounds: tuple[float, float] | None) -> str:
    """Bounds in joules."""
    return UNKNOWN if bounds is None else f"{bounds[0]:.3g}\u00a0to\u00a0{bounds[1]:.3g}\u00a0J"


def _mean(found: Mean, *, sign: bool = False) -> tuple[str, str]:
    """A mean in joules and its interval."""
    text = figure(found.estimate, "J")
    return f"+{text}" if sign and found.estimate is not None and found.estimate > 0 else text, ends(found, sign=sign)


def runs(data: TrainingReport) -> Table:
    """Every run with what was passed, what came of it, what it took."""
    rows = []
    for run in data.runs:
        passed = Markup(" ").join(Markup("<code>{}={}</code>").format(*pair) for pair in run.hyperparameters.items())
        failed = Markup('<br><span class="bad">{}</span>').format(run.failure) if not run.ok else ""
        metrics = ", ".join(f"{name}\u00a0{figure(value)}" for name, value in run.metrics.items())
        times = (seconds(run.duration_s), figure(run.cpu_s, "s"), str(run.attempt))
        title = f"{run.label} · {run.title}" if run.label else run.title
        rows.append([Markup("{}{}").format(title, failed), passed or "all defaults", metrics or "none", *times])
    return Table(("Run", "hyperparameters passed", "metrics", "time", "CPU", "attempt"), rows, frozenset({1, 2}))


def backgrounds(run: ReportedRun) -> Table:
    """One run's backgrounds."""
    rows = [
        [
            f"{one.id} ({one.workload}){'' if one.required else ', not required'}",
            f"{one.state}: {one.detail}" if one.detail else one.state,
            str(one.iterations),
            str(one.epochs),
            figure(one.samples),
            *_rate(known(one.samples_per_s)),
            str(one.starts),
            ", ".join(f"{cause} {count}" for cause, count in one.restarts_by_cause.items()) or "none",
            figure(one.cpu_s, "s"),
            figure(one.peak_bytes / 2**20, "MiB") if one.peak_bytes else UNKNOWN,
            percent(one.overlap_fraction),
        ]
        for one in run.backgrounds
    ]
    counted = ("iterations", "epochs", "samples", "samples/s", "95 % interval", "starts", "restarts")
    columns = ("Background", "state", *counted, "CPU", "peak memory", "overlap")
    return Table(columns, rows, frozenset({1, 8}))


def _rate(found: Mean | None) -> tuple[str, str]:
    return (UNKNOWN, UNKNOWN) if found is None else (figure(found.estimate), ends(found))


def energy(data: TrainingReport) -> Table:
    """Every energy figure with its label."""
    rows = [
        [
            one.run,
            one.domain,
            figure(one.joules, "J"),
            one.kind,
            one.method,
            f"{one.scope}: {', '.join(one.includes)}",
            seconds(one.window_s),
            percent(one.coverage),
            one.reason or one.uncertainty or "",
        ]
        for one in data.energy
    ]
    columns = ("Run", "domain", "energy", "kind", "method", "scope, includes", "window", "coverage", "uncertainty or reason")
    return Table(columns, rows, frozenset({1, 3, 4, 5, 8}), "no training ran")


def others(data: TrainingReport) -> Table:
    """What others on the machine did meanwhile."""
    rows = [
        [
            run.label or run.title,
            figure(run.host.others_busy_cpus),
            percent(run.host.psi_cpu_some),
            figure(run.host.run_delay_s, "s"),
        ]
        for run in data.runs
        if not isinstance(run.host, Nothing)
    ]
    waited = ("time a process waited for a CPU (PSI)", "time the foreground waited for a CPU")
    return Table(("Run", "CPUs kept busy by others", *waited), rows)


def failures(data: TrainingReport) -> Table:
    """Every failed attempt."""
    rows = [[one.title, str(one.attempt), str(one.failure), one.failure_detail, seconds(one.duration_s)] for one in data.failures]
    return Table(("Run", "attempt", "failure", "detail", "time spent"), rows, frozenset({2, 3}))


def _signed(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:+.3g}"
