"""NVIDIA GPUs by NVML: the cumulative energy counter (Volta and later), else the power sensor integrated over real timestamps.

Needs the package nvidia-ml-py (`pip install millrace[gpu]`) and the driver; no privileges.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from millrace.training.energy import Domain, Unavailable
from millrace.training.settings import EnergySettings

POWER_POLL_S = 0.1
COUNTER_POLL_S = 10.0

LONGEST_GAP_S = 5.0
"""Two readings of the power sensor further apart than this (we were stopped, or asleep) say nothing of what was between them."""


class Nvml:
    """Every GPU of the host."""

    def __init__(self, nvml: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._nvml, self._clock = nvml, clock
        self._devices: dict[str, Any] = {}
        self._last_mj: dict[str, float] = {}
        self._counted_mj: dict[str, float] = {}
        self._power: dict[str, tuple[float, float]] = {}
        self._integral: dict[str, float] = {}
        self._lost: set[str] = set()
        self.domains = []
        for index in range(nvml.nvmlDeviceGetCount()):
            name, handle = f"gpu:{index}", nvml.nvmlDeviceGetHandleByIndex(index)
            self._devices[name] = handle
            try:
                self._last_mj[name] = float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
                self._counted_mj[name] = 0.0
                method, doubt = "nvml_counter", "about 5 % by NVIDIA's specification of the board sensor"
            except nvml.NVMLError:
                self._power[name] = (clock(), nvml.nvmlDeviceGetPowerUsage(handle) / 1e3)
                self._integral[name] = 0.0
                method, doubt = "nvml_power_integral", "the sensor averages over up to 1 s and may look away most of the time"
            self.domains.append(Domain(name, "device", method, uncertainty=doubt))
        self.poll_every_s = POWER_POLL_S if self._power else COUNTER_POLL_S

    def read(self) -> dict[str, float | None]:
        """Joules by GPU since the start; None: unknown since the last reading."""
        found: dict[str, float | None] = {}
        for name, handle in self._devices.items():
            try:
                found[name] = None if name in self._lost else self._joules(name, handle)
            except self._nvml.NVMLError:
                self._lost.add(name)
                found[name] = None
        return found

    def _joules(self, name: str, handle: Any) -> float | None:
        if name in self._last_mj:
            counter = float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
            step, self._last_mj[name] = counter - self._last_mj[name], counter
            if step < 0:
                return None  # the driver was loaded anew, and counts from 0
            self._counted_mj[name] += step
            return self._counted_mj[name] / 1e3
        now, watts = self._clock(), self._nvml.nvmlDeviceGetPowerUsage(handle) / 1e3
        before, watts_before = self._power[name]
        self._power[name] = (now, watts)
        if now - before > LONGEST_GAP_S:
            return None
        self._integral[name] += (now - before) * (watts + watts_before) / 2
        return self._integral[name]

    def wraps(self) -> dict[str, int]:
        """64-bit counters do not wrap."""
        return dict.fromkeys(self._devices, 0)

    def close(self) -> None:
        """Let go of the driver."""
        self._nvml.nvmlShutdown()


def open_source(settings: EnergySettings) -> Nvml:
    """All GPUs.

    Raises:
        Unavailable: no package, no driver, no GPU.
    """
    try:
        import pynvml
    except ImportError:
        raise Unavailable("the package nvidia-ml-py is not installed: pip install 'millrace[gpu]'") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise Unavailable(f"NVML does not start: {error} (no NVIDIA driver, or no GPU given to this container)") from None
    source = Nvml(pynvml)
    if not source.domains:
        source.close()
        raise Unavailable("NVML sees no GPU")
    return source
