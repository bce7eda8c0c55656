"""What the machine was doing: CPU use, pressure, memory, temperature, governor, and what it is."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from millrace.records.training.machine import CoolingDown, GovernorState, HostLoad, MachineFacts
from millrace.training.settings import CoolDown

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
GOVERNORS = "devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"
SYS = Path("/sys")


@dataclass(frozen=True)
class Load:
    """The host at one moment: CPU time of all processes since boot, and the time in which one waited for a CPU (PSI)."""

    at: float
    busy_s: float | None
    waited_s: float | None


def load_now(proc: Path = Path("/proc")) -> Load:
    """Read /proc/stat and /proc/pressure/cpu; None where there is no such file."""
    busy = waited = None
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = [int(word) for word in (proc / "stat").read_text().split("\n", 1)[0].split()[1:9]]
        busy = (sum(fields) - fields[3] - fields[4]) / TICKS_PER_S  # without idle and iowait
    with contextlib.suppress(OSError, ValueError, IndexError):
        waited = int((proc / "pressure" / "cpu").read_text().split("total=")[1].split()[0]) / 1e6
    return Load(time.monotonic(), busy, waited)


def run_delay_s(pid: int) -> float | None:
    """How long the threads of `pid` were ready to run and had no CPU, up to now; None: unknown or gone."""
    try:
        return sum(int((task / "schedstat").read_text().split()[1]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except (OSError, ValueError, IndexError):
        return None


def load_of_others(start: Load, end: Load, ours_cpu_s: float | None) -> HostLoad:
    """What others did between two moments: CPUs they kept busy, and the share of the time in which a process waited for a CPU."""
    window = max(end.at - start.at, 1e-9)
    busy = None if start.busy_s is None or end.busy_s is None else end.busy_s - start.busy_s
    waited = None if start.waited_s is None or end.waited_s is None else end.waited_s - start.waited_s
    others = None if busy is None or ours_cpu_s is None else max(0.0, busy - ours_cpu_s)
    return HostLoad(
        window_s=window,
        host_busy_cpus=None if busy is None else busy / window,
        others_busy_cpus=None if others is None else others / window,
        psi_cpu_some=None if waited is None else waited / window,
    )


def free_memory_bytes() -> int | None:
    """Memory that can be had without swapping."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]) * 1024
    return None


def hottest_c() -> float | None:
    """The hottest sensor's temperature; None without sensors."""
    found = []
    for file in [*SYS.glob("class/thermal/thermal_zone*/temp"), *SYS.glob("class/hwmon/hwmon*/temp*_input")]:
        with contextlib.suppress(OSError, ValueError):
            found.append(int(file.read_text()) / 1000)
    return max(found, default=None)


def cool_down(
    settings: CoolDown,
    *,
    load: Callable[[], Load] = load_now,
    temperature: Callable[[], float | None] = hottest_c,
    sleep: Callable[[float], None] = time.sleep,
) -> CoolingDown:
    """Wait until the machine is calm, at most `max_s`. Returns what was waited for and what was reached."""
    waited, cpus = 0.0, os.cpu_count() or 1
    busy: float | None = None
    heat: float | None = None
    before = load()
    while waited < settings.max_s:
        step = min(settings.check_every_s, settings.max_s - waited)
        sleep(step)
        waited += step
        now = load()
        if now.busy_s is not None and before.busy_s is not None and now.at > before.at:
            busy = (now.busy_s - before.busy_s) / (now.at - before.at) / cpus
        before = now
        heat = temperature() if settings.temperature_below_c is not None else None
        calm = busy is None or busy < settings.cpu_busy_below
        cool = settings.temperature_below_c is None or heat is None or heat < settings.temperature_below_c
        if calm and cool:
            return CoolingDown(waited_s=waited, reached=True, cpu_busy=busy, temperature_c=heat)
    return CoolingDown(waited_s=waited, reached=settings.max_s == 0, cpu_busy=busy, temperature_c=heat)


@contextlib.contextmanager
def governor(wanted: str | None, sys: Path = SYS) -> Iterator[GovernorState]:
    """Set the CPU governor for the block and restore what was; None only reads it. Yields what was found and done."""
    files = sorted(sys.glob(GOVERNORS))
    before: dict[Path, str] = {}
    for file in files:
        with contextlib.suppress(OSError):
            before[file] = file.read_text().strip()
    done, reason = False, None
    if wanted is not None:
        try:
            if not files:
                raise OSError("this host shows no CPU governor (virtual machines usually do not)")
            for file in files:
                file.write_text(wanted)
            done = True
        except OSError as error:
            reason = str(error)
    try:
        yield GovernorState(before=sorted(set(before.values())) or None, asked=wanted, set=done, reason=reason)
    finally:
        if wanted is not None:
            for file, value in before.items():
                with contextlib.suppress(OSError):
                    file.write_text(value)


def describe() -> MachineFacts:
    """What this machine is, for results."""
    model = None
    with contextlib.suppress(OSError, IndexError):
        model = Path("/proc/cpuinfo").read_text().split("model name")[1].split("\n")[0].strip("\t :")
    memory = None
    with contextlib.suppress(OSError, ValueError, IndexError):
        memory = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    return MachineFacts(
        host=platform.node(),
        system=f"{platform.system()} {platform.release()}",
        cpu=model,
        cpus=os.cpu_count(),
        cpus_usable=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        memory_bytes=memory,
        user_is_root=os.geteuid() == 0,
    )
