"""Intel's and AMD's CPU energy counters, as the kernel shows them under /sys/class/powercap.

They count a whole socket, never a process. Root only since kernel 5.10, and hidden in most containers: `chmod a+r` on the
energy_uj files (or a udev rule) opens them; see `python -m flows.training doctor`.

A counter that goes down has either wrapped around or begun anew (after a suspend, a reset of the socket). It has wrapped only if
the energy that this would mean is what the socket can have used since the last look; else that stretch is unknown. Does not
cover: a counter that begins anew in the last percents of its range, and one that has passed its old value again at the next look.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from millrace.training.energy import Domain, Unavailable
from millrace.training.settings import EnergySettings

NAMES = {"package": "cpu_package", "dram": "dram", "core": "cpu_cores", "uncore": "cpu_uncore", "psys": "platform"}
"""The kernel's names for zones → ours."""

POLL_EVERY_S = 2.0
"""Zones wrap after 65 kJ to 262 kJ, at 1 kW after a minute or more. The shorter the stretch between two looks, the less a counter
that began anew can be taken for one that wrapped: 2 s at 1 kW are 2 kJ, 3 % of the smallest range."""

MOST_WATTS = {"psys": 4000.0}
"""More than any socket (1 kW) or any whole machine with such a zone draws."""

SLACK_J = 50.0
"""The counter and the clock are not read at the same moment: 50 ms at 1 kW."""

SUSPENDED_S = 1.0
"""The boot-time clock goes on while the machine sleeps, the monotonic one does not: counters may have begun anew meanwhile."""


@dataclass
class _Zone:
    domain: Domain
    file: Path
    range_uj: int
    most_watts: float
    last_uj: int | None
    at: float
    slept_s: float
    total_uj: int = 0
    wraps: int = 0
    lost: bool = False

    def take(self, now_uj: int, at: float, slept_s: float) -> float | None:
        """Joules since the source was opened; None when what was used since the last look cannot be known."""
        assert self.last_uj is not None
        step, elapsed = now_uj - self.last_uj, at - self.at
        slept, self.slept_s = slept_s - self.slept_s > SUSPENDED_S, slept_s
        self.last_uj, self.at = now_uj, at
        most_uj = (elapsed * self.most_watts + SLACK_J) * 1e6
        if slept or most_uj >= self.range_uj + SLACK_J * 1e6:
            return None  # it may have begun anew, or wrapped more than once
        if step < 0:
            if step + self.range_uj > most_uj:
                return None  # it began anew
            step += self.range_uj
            self.wraps += 1
        self.total_uj += step
        return self.total_uj / 1e6


class Rapl:
    """All zones below one powercap folder; those that may not be read are there, and unknown."""

    def __init__(
        self,
        zones: list[_Zone],
        clock: Callable[[], float] = time.monotonic,
        slept: Callable[[], float] | None = None,
    ) -> None:
        self._zones, self._clock, self._slept = zones, clock, slept or slept_s
        self.domains = [zone.domain for zone in zones]
        self.poll_every_s = POLL_EVERY_S

    def read(self) -> dict[str, float | None]:
        """Joules by domain; None: unknown since the last look. A zone that could not be read once stays unknown."""
        found: dict[str, float | None] = {}
        for zone in self._zones:
            if zone.last_uj is None or zone.lost:
                found[zone.domain.name] = None
                continue
            try:
                now = int(zone.file.read_text())
            except (OSError, ValueError):
                zone.lost = True
                found[zone.domain.name] = None
                continue
            found[zone.domain.name] = zone.take(now, self._clock(), self._slept())
        return found

    def wraps(self) -> dict[str, int]:
        """How often each counter has wrapped around."""
        return {zone.domain.name: zone.wraps for zone in self._zones}

    def close(self) -> None:
        """Nothing is held."""


def open_source(
    settings: EnergySettings, clock: Callable[[], float] = time.monotonic, slept: Callable[[], float] | None = None
) -> Rapl:
    """Every zone below `settings.powercap`.

    Raises:
        Unavailable: there is no powercap, no zone in it, none that may be read, or no psys zone where psys is to be the total.
    """
    root = settings.powercap
    closed: list[str] = []
    zones: list[_Zone] = []
    taken: set[str] = set()
    for folder in _zone_folders(root):
        label, whole = _label(folder), 1
        last: int | None = None
        try:
            last = int((folder / "energy_uj").read_text())
        except FileNotFoundError:
            continue  # a zone without a counter: it only sets limits
        except PermissionError:
            closed.append(str(folder / "energy_uj"))
        except (OSError, ValueError):
            pass
        try:
            whole = int((folder / "max_energy_range_uj").read_text())
        except (OSError, ValueError):
            last = None  # without its range a counter that wraps cannot be followed
        domain = _domain(folder.name, label, taken)
        taken.add(domain.name)
        at, asleep = clock(), (slept or slept_s)()
        zones.append(_Zone(domain, folder / "energy_uj", whole, _most_watts(folder, label), last, at, asleep))
    if not any(zone.last_uj is not None for zone in zones):
        if closed:
            raise Unavailable(f"{closed[0]} may be read by root only; run `sudo chmod a+r {root}/*/energy_uj`, or ask for it")
        raise Unavailable(f"{root} shows no RAPL zone with a counter: a container or virtual machine hides it")
    platforms = [zone.domain.name for zone in zones if zone.domain.scope == "host"]
    if settings.rapl_total == "psys" and not platforms:
        raise Unavailable(f"energy.rapl_total is psys, and {root} shows no psys zone; set it to package")
    return Rapl(_related(zones, platforms, psys_is_total=settings.rapl_total == "psys"), clock, slept)


def slept_s() -> float:
    """How long this machine has slept since its boot; 0 where the system does not say."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(boot) - time.clock_gettime(time.CLOCK_MONOTONIC) if boot is not None else 0.0


def _zone_folders(root: Path) -> list[Path]:
    """The zones' folders by name: a package before what is inside it.

    `intel-rapl-mmio` is left out: it shows the same packages by another way.
    """
    try:
        names = os.listdir(root)  # noqa: PTH208 - unlike glob it says what it may not look into
    except FileNotFoundError:
        raise Unavailable(f"no {root}: the machine has no RAPL counters, or a container or virtual machine hides them") from None
    except NotADirectoryError:
        raise Unavailable(f"{root} is a file; energy.powercap is the folder /sys/class/powercap") from None
    except OSError as error:
        raise Unavailable(f"{root} may not be looked into: {error.strerror}; run as root, or ask for it") from None
    return [root / name for name in sorted(names) if name.partition(":")[0].endswith("-rapl") and ":" in name]


def _label(folder: Path) -> str:
    try:
        return (folder / "name").read_text().strip()
    except OSError:
        return folder.name


def _domain(zone: str, label: str, taken: set[str]) -> Domain:
    parts = zone.split(":")
    base, _, number = label.partition("-")
    name = f"{NAMES.get(base, base)}:{number or parts[1]}"
    if name in taken:
        name = f"{name}@{':'.join(parts[1:])}"
    return Domain(
        name,
        "host" if base == "psys" else "socket",
        "rapl_powercap",
        part_of=":".join(parts[:2]) if len(parts) > 2 and base not in {"dram", "psys"} else None,
        uncertainty="on-chip model; a few percent on servers since Haswell-EP, worse for DRAM at idle",
    )


def _related(zones: list[_Zone], platforms: list[str], *, psys_is_total: bool) -> list[_Zone]:
    """Say which zone is inside which, so that every joule is in a total once.

    Cores and uncore are inside their package, memory is beside it, and psys has all of them and more: either it is the total, or
    the packages and their memory are and it is shown beside them.
    """
    names = {zone.file.parent.name: zone.domain.name for zone in zones}
    inner = tuple(zone.domain.name for zone in zones if zone.domain.scope != "host" and zone.domain.part_of is None)
    for zone in zones:
        domain = zone.domain
        part_of = names.get(domain.part_of, domain.part_of) if domain.part_of else None
        if part_of is None and psys_is_total and domain.scope != "host":
            part_of = platforms[0]
        contains = inner if domain.scope == "host" and not psys_is_total else ()
        zone.domain = Domain(
            domain.name, domain.scope, domain.method, part_of=part_of, uncertainty=domain.uncertainty, contains=contains
        )
    return zones


def _most_watts(folder: Path, label: str) -> float:
    """The most that a zone can draw: twice its largest power limit, where the kernel shows one that means something."""
    ceiling = MOST_WATTS.get(label.partition("-")[0], 1000.0)
    limits: list[float] = []
    for file in [*folder.glob("constraint_*_max_power_uw"), *folder.glob("constraint_*_power_limit_uw")]:
        try:
            limits.append(int(file.read_text()) / 1e6)
        except (OSError, ValueError):
            continue
    return min(ceiling, 2 * max(limits)) if limits and max(limits) > 0 else ceiling
