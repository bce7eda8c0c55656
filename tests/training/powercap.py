"""A folder of fake RAPL counters, as /sys/class/powercap has real ones."""

from __future__ import annotations

from pathlib import Path

from millrace.training.settings import EnergySettings


class Powercap:
    """Zones with counters that a test sets; shaped as the kernel shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def zone(self, folder: str, name: str, microjoules: int, whole: int = 262_143_328_850) -> Path:
        place = self.root / folder
        place.mkdir()
        (place / "name").write_text(name + "\n")
        (place / "max_energy_range_uj").write_text(f"{whole}\n")
        self.set(folder, microjoules)
        return place

    def set(self, folder: str, microjoules: int) -> None:
        (self.root / folder / "energy_uj").write_text(f"{microjoules}\n")

    def settings(self, *providers: str) -> EnergySettings:
        return EnergySettings(providers=list(providers or ["rapl"]), powercap=self.root)
