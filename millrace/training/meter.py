"""Energy over windows, honestly labelled: what was measured, attributed or estimated, by what, of what, and how surely.

Unknown is None and never 0; figures of different kinds are never added.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from msgspec import UNSET, structs

from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin
from millrace.records.training.energy import EnergyDomain, EnergyReading
from millrace.training.energy import Source, Unavailable
from millrace.training.settings import EnergySettings

SOURCES = "millrace.training.energy"


@dataclass
class Snapshot:
    """All counters at one moment. `breaks`: how often what a counter used since the reading before could not be known."""

    at: float
    joules: dict[str, float | None]
    wraps: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    breaks: dict[str, int] = field(default_factory=dict)


class EnergyMeter:
    """Keeps the sources read often enough, and answers with the energy between two snapshots. Use as a context manager.

    Covers: counters that wrap (they are polled) or begin anew in the middle (that window is unknown), sources that
    fail (unknown from then on), a host where nothing can be read (every window then says `unavailable` and why). Does not cover:
    what no source sees, such as fans; a counter that begins anew and passes its old value between two readings.
    """

    def __init__(
        self, settings: EnergySettings, sources: Sequence[Source] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.settings = settings
        self.unavailable: dict[str, str] = {}
        self._clock = clock
        self._sources = list(sources) if sources is not None else self._open()
        self._names, self._domains = _told_apart(self._sources)
        self._lock = threading.Lock()
        self._samples = 0
        self._breaks: dict[str, int] = {}
        self._stop = threading.Event()
        self._poller: threading.Thread | None = None

    def _open(self) -> list[Source]:
        opened: list[Source] = []
        for name in self.settings.providers:
            module = load_plugin(SOURCES, name, "energy source")
            try:
                source = module.open_source(self.settings)
            except Unavailable as reason:
                self.unavailable[name] = str(reason)
            else:
                opened.append(completed(source, Source, f"the energy source '{name}'"))
        return opened

    def __enter__(self) -> EnergyMeter:
        if self._sources:
            self._poller = threading.Thread(target=self._poll, daemon=True, name="energy")
            self._poller.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._poller is not None:
            self._poller.join()
        for source in self._sources:
            source.close()

    @property
    def domains(self) -> list[EnergyDomain]:
        """What can be read here."""
        return list(self._domains)

    def snapshot(self) -> Snapshot:
        """All counters now."""
        with self._lock:
            joules: dict[str, float | None] = {}
            wraps: dict[str, int] = {}
            for source, names in zip(self._sources, self._names, strict=True):
                joules |= {names.get(name, name): value for name, value in source.read().items()}
                wraps |= {names.get(name, name): count for name, count in source.wraps().items()}
            self._samples += 1
            for name, value in joules.items():
                if value is None:
                    self._breaks[name] = self._breaks.get(name, 0) + 1
            return Snapshot(self._clock(), joules, wraps, self._samples, dict(self._breaks))

    def between(self, start: Snapshot, end: Snapshot) -> list[EnergyReading]:
        """The energy of a window, one reading for each domain; one `unavailable` reading when there is none."""
        window = end.at - start.at
        readings = [self._reading(domain, start, end, window) for domain in self.domains]
        if not readings:
            why = "; ".join(f"{name}: {reason}" for name, reason in self.unavailable.items()) or "no source was asked for"
            readings.append(EnergyReading("cpu_package", None, "unavailable", "none", "host", window_s=window, reason=why))
        return readings

    def _reading(self, domain: EnergyDomain, start: Snapshot, end: Snapshot, window: float) -> EnergyReading:
        first, last = start.joules.get(domain.name), end.joules.get(domain.name)
        whole = start.breaks.get(domain.name, 0) == end.breaks.get(domain.name, 0)
        joules = last - first if first is not None and last is not None and whole else None
        known = joules is not None
        return EnergyReading(
            domain.name,
            joules,
            domain.kind if known else "unavailable",
            domain.method,
            domain.scope,
            window_s=window,
            samples=end.samples - start.samples + 1,
            coverage=1.0 if known else None,
            counter_wraps=end.wraps.get(domain.name, 0) - start.wraps.get(domain.name, 0),
            uncertainty=domain.uncertainty,
            part_of=domain.part_of,
            reason=None if known else f"{domain.method} could not be read during the window, or its counter began anew in it",
            contains=domain.contains or UNSET,
            missing_from=UNSET if known else domain.kind,
        )

    def _poll(self) -> None:
        period = min(source.poll_every_s for source in self._sources)
        while not self._stop.wait(period):
            self.snapshot()


def _told_apart(sources: Sequence[Source]) -> tuple[list[dict[str, str]], list[EnergyDomain]]:
    """New names for domains that two sources count (Zeus and RAPL both read a package): the second is only a cross-check."""
    renamed: list[dict[str, str]] = []
    domains: dict[str, EnergyDomain] = {}
    for source in sources:
        names: dict[str, str] = {}
        for domain in source.domains:
            name = domain.name
            if name in domains:
                name = names[domain.name] = f"{name} by {domain.method}"
                domains[name] = structs.replace(domain, name=name, contains=(domain.name,), part_of=None)
            else:
                domains[name] = domain
        renamed.append(names)
    return renamed, list(domains.values())


def attribute(
    readings: Iterable[EnergyReading], *, share: float | None, idle_w: Mapping[str, float | None]
) -> list[EnergyReading]:
    """What of the measured CPU energy the foreground caused: (E - idle power x time) x its share of the CPU time.

    The idle part is not shared out: it is a reading of its own. Without an idle baseline or a share nothing is attributed.
    """
    made: list[EnergyReading] = []
    readings = list(readings)
    platforms = {reading.domain for reading in readings if reading.scope == "host"}
    for reading in readings:
        if reading.kind != "measured" or reading.scope != "socket" or reading.joules is None or reading.contains:
            continue
        if reading.part_of is not None and reading.part_of not in platforms:
            continue
        idle = idle_w.get(reading.domain)
        if idle is None or share is None:
            continue
        idle_j = min(idle * reading.window_s, reading.joules)
        rest = reading.joules - idle_j
        for name, joules, includes in (
            (f"{reading.domain}/foreground", rest * share, ("foreground",)),
            (f"{reading.domain}/idle", idle_j, ("idle",)),
            (f"{reading.domain}/rest", rest * (1 - share), ("background", "others")),
        ):
            made.append(
                EnergyReading(
                    name,
                    joules,
                    "attributed",
                    "cpu_time_share",
                    "process_tree" if includes == ("foreground",) else reading.scope,
                    includes,
                    reading.window_s,
                    reading.samples,
                    reading.coverage,
                    reading.counter_wraps,
                    idle,
                    "CPU time is not energy: frequency, vector units and memory differ between programs",
                    part_of=reading.domain,
                )
            )
    return made


def estimate(cpu_s: float | None, watts_per_core: float | None, window_s: float) -> EnergyReading | None:
    """CPU time x the user's own watts for a busy core; None when no figure was given."""
    if watts_per_core is None or cpu_s is None:
        return None
    return EnergyReading(
        "cpu/foreground",
        float(f"{cpu_s * watts_per_core:.2g}"),
        "estimated",
        "cpu_seconds_x_watts_per_core",
        "process_tree",
        ("foreground",),
        window_s,
        coverage=1.0,
        uncertainty=f"your figure of {watts_per_core:g} W for each busy core, without idle, memory and the rest of the machine",
    )


def total(readings: Iterable[EnergyReading]) -> dict[str, float | None]:
    """Sums by kind, each domain once. Kinds are never added to each other; a kind with an unknown part is unknown."""
    sums: dict[str, float | None] = {}
    for reading in readings:
        if reading.part_of is not None or reading.contains:
            continue
        if reading.joules is None:
            sums[reading.kind] = None
            if reading.missing_from:
                sums[reading.missing_from] = None
            continue
        before = sums.get(reading.kind, 0.0)
        sums[reading.kind] = None if before is None else before + reading.joules
    return sums
