"""CodeCarbon's estimate (load x TDP) for this process tree, offline and for a country you name. An estimate, and labelled as one.

Optional: `pip install codecarbon`. Its RAM figure is a constant (10 W in process mode) and kept apart from its CPU figure.
"""

from __future__ import annotations

from typing import Any

from millrace.training.energy import Domain, Unavailable
from millrace.training.settings import EnergySettings

KWH = 3.6e6
TASK = "millrace"
DOUBT = "errors of up to 40 % against meters are reported (arXiv 2509.22092)"


class CodeCarbon:
    """CodeCarbon's tasks, laid end to end into counters."""

    def __init__(self, tracker: Any) -> None:
        self._tracker = tracker
        self._totals = {"cpu": 0.0, "ram": 0.0}
        self.poll_every_s = 60.0
        self.domains = [
            Domain("cpu", "process_tree", "codecarbon_tdp_model", "estimated", uncertainty=DOUBT),
            Domain("ram", "process_tree", "codecarbon_constant", "estimated", uncertainty="a constant, not a measurement"),
        ]
        tracker.start_task(TASK)

    def read(self) -> dict[str, float | None]:
        """Estimated joules since the start."""
        data = self._tracker.stop_task(TASK)
        self._tracker.start_task(TASK)
        self._totals["cpu"] += data.cpu_energy * KWH
        self._totals["ram"] += data.ram_energy * KWH
        return dict(self._totals)

    def wraps(self) -> dict[str, int]:
        """No counters, no wraps."""
        return {}

    def close(self) -> None:
        """End the task."""
        self._tracker.stop_task(TASK)


def open_source(settings: EnergySettings) -> CodeCarbon:
    """The offline tracker, which opens no connection.

    Raises:
        Unavailable: not installed, or no country given (it would guess one over the network).
    """
    if settings.country is None:
        raise Unavailable("codecarbon needs energy.country, e.g. DEU: without it, it would ask the network where it is")
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        raise Unavailable("CodeCarbon is not installed: pip install codecarbon") from None
    return CodeCarbon(
        OfflineEmissionsTracker(
            country_iso_code=settings.country,
            tracking_mode="process",
            save_to_file=False,
            log_level="error",
            allow_multiple_runs=True,
        )
    )
