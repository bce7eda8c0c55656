"""Makes the colocation card of a run: slowdown and joules per epoch, and three ways to say whose joules they are.

A meter counts the machine, not a program: what a shared epoch used can be divided in more than one fair way. Three rules are
given, each of which divides exactly what the meter said, so that their estimates are bounds of any one figure:

- time share: by CPU time. Blind to what a second of CPU time draws, and to GPUs: not given where a GPU was measured.
- increment: the foreground has what its epoch takes alone, the backgrounds all the rest.
- Shapley: the mean over both orders of coming first. With E(F) for a solo epoch, E(B) for the backgrounds' work of a shared epoch
  done alone, and E(FB) for the shared epoch, the foreground has (E(F) + E(FB) - E(B)) / 2. L. S. Shapley, A value for n-person
  games, 1953. All backgrounds together are one player.

Covers: a steady drift of the machine, which falls on both kinds of windows alike; windows of which the meter knows nothing, which
make no pair. Does not cover: what others on the machine used, which is in every window; backgrounds whose power alone was
measured over too few seconds (the interval says so, where there is one).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from msgspec import structs

from millrace.records.training.attempt import AttemptRecord, known
from millrace.records.training.backgrounds import BackgroundsAlone
from millrace.records.training.colocation_card import ColocationCard, EnergyRule, EnergyShare
from millrace.records.training.comparison import Epoch, Ratio
from millrace.records.training.mean import Mean
from millrace.training.backgrounds.colocation import LEAST_FOR_AN_INTERVAL, half_width, mean_of, paired_windows


def colocation_cards(final: Iterable[AttemptRecord]) -> list[ColocationCard]:
    """A card for each run beside backgrounds, of its last attempt, also where nothing could be known."""
    return [card_of(record) for record in final if record.mode == "parallel"]


def card_of(record: AttemptRecord) -> ColocationCard:
    """The card of one attempt beside backgrounds."""
    epochs = record.epochs or []
    comparison = record.comparison if record.ok and record.comparison else None
    unknown = mean_of([], "")
    card = ColocationCard(
        run=record.id,
        title=record.title,
        backgrounds=[one.id for one in record.backgrounds or []],
        windows=[epoch.load for epoch in epochs],
        slowdown=comparison.slowdown if comparison else Ratio(estimate=None, low=None, high=None, pairs=0),
        solo_j=unknown,
        shared_j=unknown,
        increase_j=unknown,
        background_alone_j=unknown,
        shares=[],
        foreground_between_j=None,
        background_between_j=None,
        background_alone_per_s=mean_of(_parts_alone(record), "it was not measured, or one of them does not say its samples"),
        background_beside_per_s=mean_of(_rates_beside(epochs), "no shared epoch, or one of them does not say its samples"),
    )
    if comparison is None:
        why = f"the training failed: {record.failure}" if not record.ok else "no epoch was seen"
        return structs.replace(card, reason=why)
    found = paired_windows(epochs, lambda epoch: epoch.energy_j is not None)
    if not found:
        return structs.replace(card, reason=_why_no_energy(record, epochs))
    return _with_energy(card, found, record.background_alone or None, gpu=_is_gpu_measured(record))


def _with_energy(
    card: ColocationCard, found: Sequence[tuple[list[Epoch], list[Epoch]]], alone: BackgroundsAlone | None, *, gpu: bool
) -> ColocationCard:
    solo = [_mean(epochs, _energy_j) for epochs, _ in found]
    shared = [_mean(epochs, _energy_j) for _, epochs in found]
    apart, joules_per_sample = _work_alone([epochs for _, epochs in found], alone)
    cpu_shares = [_cpu_share(epochs) for _, epochs in found]
    by_time = [whole * share for whole, share in zip(shared, cpu_shares, strict=True) if share is not None]
    shares = [
        _share(
            "time_share",
            by_time if not gpu and len(by_time) == len(shared) else None,
            shared,
            "a GPU's energy is in it, of which CPU time says nothing" if gpu else "the CPU time of a window is not known",
        ),
        _share("increment", solo, shared),
        _share(
            "shapley",
            None if apart is None else [(own + both - rest) / 2 for own, both, rest in zip(solo, shared, apart, strict=True)],
            shared,
            known(joules_per_sample.reason) or "",
        ),
    ]
    background_alone = mean_of(apart or [], "the backgrounds' work or their power alone is not known")
    if apart is not None:
        # The windows' spread, and how surely a sample's joules are known; both are independent of each other.
        samples = statistics.fmean(_mean(epochs, _samples) for _, epochs in found)
        background_alone = _widened(background_alone, joules_per_sample, samples)
        shares[2] = structs.replace(
            shares[2],
            foreground_j=_widened(shares[2].foreground_j, joules_per_sample, samples / 2),
            background_j=_widened(shares[2].background_j, joules_per_sample, samples / 2),
        )
    total = mean_of(shared)
    estimates = [share.foreground_j.estimate for share in shares if share.foreground_j.estimate is not None]
    between = (min(estimates), max(estimates))
    assert total.estimate is not None
    return structs.replace(
        card,
        solo_j=mean_of(solo),
        shared_j=total,
        increase_j=mean_of([both - own for own, both in zip(solo, shared, strict=True)]),
        background_alone_j=background_alone,
        shares=shares,
        foreground_between_j=between,
        background_between_j=(total.estimate - between[1], total.estimate - between[0]),
    )


def _share(rule: EnergyRule, foreground: list[float] | None, shared: list[float], why_not: str = "") -> EnergyShare:
    if foreground is None:
        return EnergyShare(rule=rule, foreground_j=mean_of([], why_not), background_j=mean_of([], why_not))
    background = [whole - part for whole, part in zip(shared, foreground, strict=True)]
    return EnergyShare(rule=rule, foreground_j=mean_of(foreground), background_j=mean_of(background))


def _work_alone(shared: Sequence[list[Epoch]], alone: BackgroundsAlone | None) -> tuple[list[float] | None, Mean]:
    """Joules of the backgrounds' work in each shared window if they did it alone; and joules of one sample, with interval."""
    if alone is None or alone.watts is None or not alone.samples_per_s:
        return None, mean_of([], "the backgrounds' power or their samples alone were not measured")
    worked = [[_samples(epoch) for epoch in epochs] for epochs in shared]
    if any(samples is None for epochs in worked for samples in epochs):
        return None, mean_of([], "the backgrounds do not say how many samples they trained on in a window")
    each = alone.watts / alone.samples_per_s
    rates, watts = alone.samples_per_s_parts or [], known(alone.watts_parts) or []
    parts = [power / rate for power, rate in zip(watts, rates, strict=False) if rate > 0]
    if len(parts) >= LEAST_FOR_AN_INTERVAL and len(parts) == len(rates):
        reach = half_width(parts)
        per_sample = Mean(estimate=each, low=each - reach, high=each + reach, count=len(parts))
    else:
        per_sample = Mean(estimate=each, low=None, high=None, count=1, reason="the backgrounds alone were measured only once")
    return [each * _mean(epochs, _samples) for epochs in shared], per_sample


def _widened(found: Mean, per_sample: Mean, samples: float) -> Mean:
    """`found` with the interval of a sample's joules in its own; without one there is none."""
    if found.low is None or found.high is None or found.estimate is None:
        return found
    if per_sample.low is None or per_sample.high is None:
        return structs.replace(found, low=None, high=None, reason=per_sample.reason)
    reach = math.hypot((found.high - found.low) / 2, samples * (per_sample.high - per_sample.low) / 2)
    return structs.replace(found, low=found.estimate - reach, high=found.estimate + reach)


def _parts_alone(record: AttemptRecord) -> list[float]:
    alone = record.background_alone or None
    if alone is None or alone.samples_per_s is None:
        return []
    return alone.samples_per_s_parts or [alone.samples_per_s]


def _rates_beside(epochs: Sequence[Epoch]) -> list[float]:
    shared = [epoch for epoch in epochs if epoch.load == "shared" and epoch.wall_s > 0]
    rates = [epoch.background_samples / epoch.wall_s for epoch in shared if epoch.background_samples is not None]
    return rates if len(rates) == len(shared) else []


def _cpu_share(epochs: Sequence[Epoch]) -> float | None:
    """The foreground's share of the CPU time of both."""
    backgrounds = [known(epoch.background_cpu_s) for epoch in epochs]
    ours = sum(epoch.foreground_cpu_s for epoch in epochs)
    theirs = [cpu for cpu in backgrounds if cpu is not None]
    whole = ours + sum(theirs)
    return ours / whole if len(theirs) == len(backgrounds) and whole > 0 else None


def _why_no_energy(record: AttemptRecord, epochs: Sequence[Epoch]) -> str:
    if not paired_windows(epochs, lambda epoch: True):
        return "no solo and shared windows next to each other"
    reasons = dict.fromkeys(reading.reason for reading in record.energy or [] if reading.joules is None and reading.reason)
    return f"no energy was measured: {'; '.join(reasons)}" if reasons else "no energy was measured in a pair of windows"


def _is_gpu_measured(record: AttemptRecord) -> bool:
    return any(one.scope == "device" and one.kind == "measured" for one in record.energy or [])


def _energy_j(epoch: Epoch) -> float | None:
    return epoch.energy_j


def _samples(epoch: Epoch) -> float | None:
    return known(epoch.background_window_samples)


def _mean(epochs: Sequence[Epoch], figure: Callable[[Epoch], float | None]) -> float:
    return statistics.fmean(value for epoch in epochs if (value := figure(epoch)) is not None)
