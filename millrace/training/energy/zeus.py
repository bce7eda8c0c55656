"""What Zeus (https://ml.energy/zeus) can measure here: also AMD and Apple, and CPUs by its daemon without root.

Optional: `pip install zeus`. Zeus' empty answers become unknown, never 0.
"""

from __future__ import annotations

from typing import Any

from millrace.training.energy import Domain, Unavailable
from millrace.training.settings import EnergySettings

WINDOW = "millrace"


class Zeus:
    """Zeus' windows, laid end to end into counters."""

    def __init__(self, monitor: Any) -> None:
        self._monitor = monitor
        self._totals: dict[str, float] = {}
        self.poll_every_s = 60.0
        monitor.begin_window(WINDOW)
        found = self.read()
        self.domains = [
            Domain(name, "device" if name.startswith("gpu") else "socket", "zeus", uncertainty="that of the counters Zeus reads")
            for name in found
        ]
        if not self.domains:
            monitor.end_window(WINDOW)
            raise Unavailable("Zeus finds nothing to measure on this host")

    def read(self) -> dict[str, float | None]:
        """Joules by domain; None for a domain that Zeus left out of the window since the last reading."""
        window = self._monitor.end_window(WINDOW)
        self._monitor.begin_window(WINDOW)
        found: dict[str, float | None] = dict.fromkeys(self._totals)
        parts = {"gpu": window.gpu_energy, "cpu_package": window.cpu_energy, "dram": window.dram_energy}
        for prefix, energies in parts.items():
            for index, joules in (energies or {}).items():
                name = f"{prefix}:{index}"
                found[name] = self._totals[name] = self._totals.get(name, 0.0) + float(joules)
        return found

    def wraps(self) -> dict[str, int]:
        """Zeus watches for them itself."""
        return {}

    def close(self) -> None:
        """End the window."""
        self._monitor.end_window(WINDOW)


def open_source(settings: EnergySettings) -> Zeus:
    """Zeus over all devices.

    Raises:
        Unavailable: not installed, or nothing to measure.
    """
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError:
        raise Unavailable("Zeus is not installed: pip install zeus") from None
    try:
        return Zeus(ZeusMonitor(approx_instant_energy=True))
    except Unavailable:
        raise
    except Exception as error:
        raise Unavailable(f"Zeus does not start: {error}") from error
