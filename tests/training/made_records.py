"""Records of attempts and epochs as tests need them: what a test does not say has a harmless value."""

from __future__ import annotations

from typing import Any

import msgspec

from millrace.records.training.attempt import AttemptRecord
from millrace.records.training.backgrounds import BackgroundsAlone
from millrace.records.training.comparison import Epoch, WindowLoad
from millrace.records.training.machine import HostLoad

CALM = HostLoad(window_s=1.0, host_busy_cpus=None, others_busy_cpus=None, psi_cpu_some=None)


def epoch(load: WindowLoad, wall_s: float, **more: Any) -> Epoch:
    """An epoch of which only its load and its length are known."""
    made = Epoch(
        n=1,
        load=load,
        overlap=0.0,
        level=None,
        started=0.0,
        window_s=wall_s,
        wall_s=wall_s,
        cpu_s=None,
        threads=None,
        foreground_cpu_s=0.0,
        samples=None,
        loss=None,
        metrics={},
        background_samples=None,
        energy_j=None,
        host=CALM,
    )
    return msgspec.structs.replace(made, **more)


def alone(samples_per_s: float, **more: Any) -> BackgroundsAlone:
    """Backgrounds measured by themselves for 3 s."""
    made = BackgroundsAlone(window_s=3.0, samples_per_s=samples_per_s, cpu_per_s=1.0, watts=None)
    return msgspec.structs.replace(made, **more)


def attempt(**more: Any) -> AttemptRecord:
    """A first attempt that succeeded."""
    made = AttemptRecord(
        id="a",
        attempt=1,
        experiment="1 parallel lstm",
        title="1 parallel lstm 1/1 beside 1 background: lr=0.123",
        mode="parallel",
        workload="lstm",
        hyperparameters={},
        hyperparameters_spelled={},
        mutated=[],
        ok=True,
        failure=None,
        failure_detail="",
        written_at="2026-01-01T00:00:00.000+00:00",
        metrics={},
    )
    return msgspec.structs.replace(made, **more)
