"""Energy sources: one file, one source. The file's name is its name under `energy.providers`.

A source is a module with `open_source(settings) -> Source`, which raises `Unavailable` with the reason when this host has no such
counter or does not let us read it. A source only counts up; windows, idle shares and labels are the meter's work.
"""

from __future__ import annotations

from typing import Any, Protocol

from millrace.records.training.energy import EnergyDomain

Domain = EnergyDomain
"""What a source says of each of its counters."""


class Unavailable(Exception):
    """This source cannot be read here; the text says why and how to get it."""


class Source(Protocol):
    """A set of energy counters."""

    domains: list[Domain]
    poll_every_s: float
    """Read at least this often, so that no counter wraps unseen (and a power sensor is integrated well)."""

    def read(self) -> dict[str, float | None]:
        """Joules by domain since this source was opened. None: what was used since the last reading is unknown, because the
        reading failed or the counter began anew; a later figure is of what came after."""
        ...

    def wraps(self) -> dict[str, int]:
        """How often each counter has wrapped around."""
        ...

    def close(self) -> None:
        """Give the source back."""
        ...


class Plugin(Protocol):
    """What a module in this folder has."""

    def open_source(self, settings: Any) -> Source:
        """The counters of this host; `settings` are the config's `EnergySettings`.

        Raises:
            Unavailable: it has none, or does not let us read them; the text says why and how to get them.
        """
        ...
