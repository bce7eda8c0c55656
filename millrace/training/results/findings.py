"""What the training report says in sentences: the findings of each run, how sure they are, and what the words mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from millrace.records.training.attempt import AttemptRecord, known
from millrace.records.training.colocation_card import ColocationCard
from millrace.records.training.comparison import Comparison, Ratio
from millrace.run.counted import counted
from millrace.training.results.colocation_card import card_of

SHORT_S = 10.0
"""Of backgrounds measured alone for less than this, the findings say for how many seconds."""

TERMS = {
    "foreground, background": "the training that is measured, and the trainings that load the machine beside it",
    "solo, shared, mixed, warm-up": "an epoch of the foreground during which the backgrounds were paused, trained (for at least "
    "90 % of it), or trained for part of it; the first epoch is warm-up and in no figure",
    "slowdown": "time of a shared epoch divided by that of a solo epoch beside it; 1.30 is 30 % longer",
    "pairs": "neighbouring solo and shared windows; each gives one slowdown, and their spread gives the interval",
    "95 % interval": "where the figure would lie in 95 of 100 repetitions, judged by the spread within this run",
    "overlap": "the share of the foreground's time in which a background was really training",
    "throughput, sum": "what both get done together, each as a share of what it gets done alone: above 1, sharing the machine "
    "gets more done than running one after the other",
    "level": "how much of the load was on: 0 all backgrounds paused, 1 all training",
    "PSI": "pressure stall information: the share of time in which some process of this machine waited for a CPU",
    "containment": "what makes sure that no process outlives its run, see the guarantee beside it",
    "measured, attributed, estimated": "read from a counter; a share of that by CPU time; computed from a figure that you gave",
    "CPU time, increment, Shapley": "three rules that divide the meter's joules: by CPU time; what the foreground uses alone "
    "is its own and all the rest the backgrounds'; the mean of that and of the reverse order",
    "Pareto front": "the runs that no other run beats in both cost and quality",
}


def higher_is_better(metric: str) -> bool:
    """Losses and errors are better when low, everything else when high."""
    return not any(word in metric.lower() for word in ("loss", "error", "perplexity", "bits"))


def main_metric(record: AttemptRecord) -> str | None:
    """The metric that the plots show: the first one that a complete training of this workload reports."""
    metrics = record.metrics or {}
    return next(iter(sorted(metrics, key=lambda name: (not higher_is_better(name), name != "test_accuracy", name))), None)


def labels_of(final: Sequence[AttemptRecord]) -> dict[str, str]:
    """A short name for each run, as the table of runs has it; empty when there is only one."""
    return {record.id: f"Run {number}" if len(final) > 1 else "" for number, record in enumerate(final, 1)}


def findings(final: Sequence[AttemptRecord], labels: dict[str, str]) -> list[str]:
    """Everything that is to be said, run by run, then of all together."""
    said: list[str] = []
    for record in final:
        label = labels[record.id]
        for line in _of_run(record):
            said.append(f"{label}: {line}" if label else line[:1].upper() + line[1:])
    failed = [record for record in final if not record.ok]
    if failed:
        said.append(f"{len(failed)} of {len(final)} runs failed; their attempts and what they cost are listed below.")
    kinds = {reading.kind for record in final for reading in record.energy or []}
    if kinds and "measured" not in kinds:
        said.append("No energy was measured on this host; the table below says why. CPU seconds are the cost figure here.")
    return said


def _of_run(record: AttemptRecord) -> list[str]:
    said: list[str] = []
    comparison = record.comparison
    if record.ok and comparison:
        said += [
            _slowdown(record, comparison.slowdown),
            *_energy(card_of(record)),
            *_throughput(comparison),
            *_learned(record, comparison),
            *_adjusted(comparison),
        ]
        if comparison.contaminated.baseline_contaminated:
            said.append("other processes used the CPUs during the solo windows; compare CPU seconds, not wall time.")
    elif record.ok and record.backgrounds:
        said.append("no epoch was seen, so nothing can be compared; give its program an `epoch` pattern.")
    for one in record.backgrounds or []:
        if one.state == "fatal":
            said.append(f"the background {one.id} was given up: {(one.detail or 'see its log').rstrip('.')}.")
    steps = (record.clock_steps.machine_s, record.clock_steps.program_s) if record.clock_steps else ()
    for clock, step in zip(("this machine's wall clock", "its program's wall clock"), steps, strict=False):
        if step:
            said.append(f"{clock} was set by {step:+,.1f} s meanwhile; no figure here rests on it.")
    return said


def _slowdown(record: AttemptRecord, slowdown: Ratio) -> str:
    if slowdown.estimate is None:
        loads = Counter(epoch.load.replace("_", "-") for epoch in record.epochs or [])
        had = ", ".join(f"{count} {load}" for load, count in loads.items())
        return (
            f"no slowdown can be given: none of its epochs ({had}) make a pair of solo and shared side by side; train at least "
            "3 epochs with interleaved windows, 9 for an interval."
        )
    low, high = slowdown.low, slowdown.high
    sure = low is not None and high is not None
    how_sure = f"95 % interval {low:.2f} to {high:.2f}" if sure else "too few windows for an interval"
    return f"an epoch takes {slowdown.estimate:.2f} times as long beside the backgrounds ({how_sure})."


def _energy(card: ColocationCard) -> list[str]:
    """What an epoch costs beside the backgrounds, and how much of it is the foreground's; nothing where nothing was measured."""
    solo, shared, bounds = card.solo_j.estimate, card.shared_j.estimate, card.foreground_between_j
    if solo is None or shared is None or bounds is None:
        return []
    rules = sum(share.foreground_j.estimate is not None for share in card.shares)
    low, high = card.increase_j.low, card.increase_j.high
    sure = (
        f"95 % interval {low:+.3g} to {high:+.3g} J" if low is not None and high is not None else "too few pairs for an interval"
    )
    theirs = f"{bounds[0]:.3g} J" if rules == 1 else f"{bounds[0]:.3g} to {bounds[1]:.3g} J"
    used = f"the machine uses {shared:.3g} J in an epoch beside the backgrounds and {solo:.3g} J without them"
    return [f"{used} (difference: {sure}); by {counted(rules, 'rules')}, {theirs} of it are the foreground's."]


def _throughput(comparison: Comparison) -> list[str]:
    found = comparison.throughput
    if found.sum is None:
        return []
    low, high = known(found.low), known(found.high)
    words = f"together they do {found.sum:.2f} times the work of one alone"
    if low is None or high is None:
        words += " (no interval: too few windows to say whether sharing pays)"
    else:
        verdict = "sharing pays" if low > 1 else "one after the other is faster" if high < 1 else "whether sharing pays is open"
        words += f" (95 % interval {low:.2f} to {high:.2f}): {verdict}"
    alone_s = known(found.alone_s)
    short = f"; the backgrounds alone were measured for {alone_s:.1f} s only" if alone_s and alone_s < SHORT_S else ""
    return [f"{words}{short}."]


def _learned(record: AttemptRecord, comparison: Comparison) -> list[str]:
    """What the windows say about the main metric."""
    metric = main_metric(record)
    found = comparison.metric_difference.get(metric) if metric is not None else None
    if metric is None or found is None or found.low is None or found.high is None:
        return []
    words = f"{metric.replace('_', ' ')} differs by {found.estimate:+.3g} beside the backgrounds"
    same = "0 lies within: no effect on what is learned was seen" if found.low <= 0 <= found.high else "0 lies outside"
    return [f"{words} (95 % interval {found.low:+.3g} to {found.high:+.3g}; {same})."]


def _adjusted(comparison: Comparison) -> list[str]:
    """A steered load is another treatment than a constant one, and its limit is aimed at, not kept."""
    found = comparison.adjusted
    if not found:
        return []
    if found.worst is None or found.mean_level is None:
        return [f"the load was to be adjusted to a slowdown of at most {found.limit:.2f}, and no epoch was long enough to do so."]
    over = f"{found.over} of {found.epochs} epochs were over the limit, the slowest {found.worst:.2f} times as long as solo"
    aimed = f"the load was adjusted towards a slowdown of at most {found.limit:.2f}"
    on = f"{100 * found.mean_level:.0f} % of it was on, on average"
    limits = "It is changed between epochs only, so the limit is aimed at and not kept; the figures are of this changing load."
    return [f"{aimed}: {on}; {over}. {limits}"]
