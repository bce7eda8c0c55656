"""Intel's and AMD's CPU energy counters, as the kernel shows them under /sys/class/powercap.

They count a whole socket, never a process. Root only since kernel 5.10, and hidden in most containers: `chmod a+r` on the
energy_uj files (or a udev rule) opens them; see `python -m flows.training doctor`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from millrace.training.energy import Domain, Unavailable
from millrace.training.settings import EnergySettings

NAMES = {"package": "cpu_package", "dram": "dram", "core": "cpu_cores", "uncore": "cpu_uncore", "psys": "platform"}
"""The kernel's names for zones → ours."""

POLL_EVERY_S = 10.0
"""Zones wrap after 65 kJ to 262 kJ: at 1 kW, more than any socket draws, that is after a minute or more."""


@dataclass
class _Zone:
    domain: Domain
    file: Path
    range_uj: int
    last_uj: int
    total_uj: int = 0
    wraps: int = 0
    lost: bool = False


class Rapl:
    """All readable zones below one powercap folder."""

    def __init__(self, zones: list[_Zone]) -> None:
        self._zones = zones
        self.domains = [zone.domain for zone in zones]
        self.poll_every_s = POLL_EVERY_S

    def read(self) -> dict[str, float | None]:
        """Joules by domain; a zone that could not be read once is unknown from then on."""
        found: dict[str, float | None] = {}
        for zone in self._zones:
            try:
                now = int(zone.file.read_text())
            except (OSError, ValueError):
                zone.lost = True
            else:
                step = now - zone.last_uj
                if step < 0:
                    step += zone.range_uj
                    zone.wraps += 1
                zone.total_uj += step
                zone.last_uj = now
            found[zone.domain.name] = None if zone.lost else zone.total_uj / 1e6
        return found

    def wraps(self) -> dict[str, int]:
        """How often each counter has wrapped around."""
        return {zone.domain.name: zone.wraps for zone in self._zones}

    def close(self) -> None:
        """Nothing is held."""


def open_source(settings: EnergySettings) -> Rapl:
    """Every zone below `settings.powercap` that can be read.

    Raises:
        Unavailable: there is no powercap, no zone in it, or none that may be read.
    """
    root = settings.powercap
    if not root.is_dir():
        raise Unavailable(f"no {root}: the machine has no RAPL counters, or a container or virtual machine hides them")
    zones: list[_Zone] = []
    closed: list[str] = []
    for folder in sorted(root.glob("*-rapl:*")):
        parts = folder.name.split(":")
        if not (folder / "energy_uj").exists():
            continue
        try:
            label = (folder / "name").read_text().strip()
            last = int((folder / "energy_uj").read_text())
            whole = int((folder / "max_energy_range_uj").read_text())
        except PermissionError:
            closed.append(str(folder / "energy_uj"))
            continue
        except (OSError, ValueError):
            continue
        base, _, number = label.partition("-")
        name = f"{NAMES.get(base, base)}:{number or parts[1]}"
        # Cores and uncore are inside their package; memory is beside it.
        inside = len(parts) > 2 and base not in {"dram", "psys"}
        package = next((zone.domain.name for zone in zones if zone.file.parent.name == ":".join(parts[:2])), None)
        domain = Domain(
            name,
            "host" if base == "psys" else "socket",
            "rapl_powercap",
            part_of=package if inside else None,
            uncertainty="on-chip model; a few percent on servers since Haswell-EP, worse for DRAM at idle",
        )
        zones.append(_Zone(domain, folder / "energy_uj", whole, last))
    if not zones:
        if closed:
            raise Unavailable(f"{closed[0]} may be read by root only; run `sudo chmod a+r {root}/*/energy_uj`, or ask for it")
        raise Unavailable(f"{root} shows no RAPL zone")
    return Rapl(zones)
