"""The colocation card of a run: what sharing the machine cost the foreground, in time and joules, and whose joules they are."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from millrace.records.training.comparison import Ratio, WindowLoad
from millrace.records.training.mean import Mean

EnergyRule = Literal["time_share", "increment", "shapley"]
"""By CPU time; the foreground has what it uses alone, the backgrounds the rest; the mean over who comes first (Shapley)."""


class EnergyShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one rule gives to whom of a shared epoch's energy. Both estimates add up to `ColocationCard.shared_j`."""

    rule: EnergyRule
    foreground_j: Mean
    background_j: Mean
    """Of all backgrounds together."""


class ColocationCard(msgspec.Struct, frozen=True, kw_only=True):
    """One foreground beside its backgrounds. Source: `millrace.training.results.colocation_card`, of the run's last attempt.

    Joules are of one foreground epoch, the whole machine's measured domains, idle power included, over pairs of neighbouring
    windows in the order solo, shared, shared, solo.
    """

    run: str
    """The run's id."""
    title: str
    backgrounds: list[str]
    """Their ids."""
    windows: list[WindowLoad]
    """What each epoch was, in order."""
    slowdown: Ratio
    """Wall time of a shared epoch over that of a solo one."""
    solo_j: Mean
    shared_j: Mean
    increase_j: Mean
    """Shared minus solo."""
    background_alone_j: Mean
    """What the backgrounds' work of a shared epoch takes when they run alone."""
    shares: list[EnergyShare]
    """By every rule; empty where nothing was measured."""
    foreground_between_j: tuple[float, float] | None
    """The smallest and the largest estimate of the rules: bounds, not an interval. None: no rule has one."""
    background_between_j: tuple[float, float] | None
    """The same; each end adds up to `shared_j` with the other end of the foreground's."""
    background_alone_per_s: Mean
    """Samples per second of all backgrounds before the foreground started, over parts of that time."""
    background_beside_per_s: Mean
    """The same beside the foreground, over its shared epochs."""
    reason: str | UnsetType = UNSET
    """Why there is no energy figure, or no slowdown either."""
