"""A machine of fake counters on which everything happens: psys, packages, memory, wraps, resets, lost rights, clock steps.

What is asked of every total is one thing: it is right, or it is null. Never wrong.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.training.campaign import measure_idle
from millrace.training.energy import rapl
from millrace.training.meter import EnergyMeter, Snapshot, attribute, total
from millrace.training.settings import EnergySettings
from tests.training.powercap import Powercap

RANGE_UJ = {
    "package-0": 65_532_610_987,
    "package-1": 65_532_610_987,
    "dram": 65_712_999_613,
    "core": 65_532_610_987,
    "psys": 65_532_610_987,
}
"""As found on servers with the smallest energy unit that is in use, 15.3 µJ."""
ZONES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "dram",
    "intel-rapl:1": "package-1",
    "intel-rapl:2": "psys",
}
IN_PACKAGE_TOTAL = {"intel-rapl:0", "intel-rapl:0:1", "intel-rapl:1"}


@dataclass
class Machine:
    """Five zones, their true energy since the start, and what happens to them."""

    powercap: Powercap
    what: Literal["package", "psys"] = "package"
    now: float = 0.0
    counter_uj: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ZONES, 3_000_000_000))
    true_uj: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ZONES, 0))
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for folder, name in ZONES.items():
            self.powercap.zone(folder, name, self.counter_uj[folder], whole=RANGE_UJ[name])
        asked = EnergySettings(providers=["rapl"], powercap=self.powercap.root, rapl_total=self.what)
        source = rapl.open_source(asked, clock=lambda: self.now, slept=lambda: 0.0)
        self.meter = EnergyMeter(asked, sources=[source], clock=lambda: self.now)
        self.start = self.meter.snapshot()

    def use(self, **watts: float) -> None:
        """Two seconds go by, each zone drawing its watts; the counters wrap where they must."""
        self.now += 2.0
        for folder, name in ZONES.items():
            used = int(watts.get(name.replace("-", "_"), 0.0) * 2.0 * 1e6)
            self.true_uj[folder] += used
            self.counter_uj[folder] = (self.counter_uj[folder] + used) % RANGE_UJ[name]
            self._show(folder)

    def begin_anew(self, folder: str, at_uj: int = 0) -> bool:
        """It starts again, if that can be told from a wrap (the source's docstring says when); returns whether it did."""
        before, whole = self.counter_uj[folder], RANGE_UJ[ZONES[folder]]
        most_uj = int((2.0 * rapl.MOST_WATTS.get(ZONES[folder], 1000.0) + rapl.SLACK_J) * 1e6)
        if not at_uj + 1 < before < whole - most_uj:
            return False
        self.counter_uj[folder] = at_uj
        self.unknown.add(folder)
        self._show(folder)
        return True

    def close(self, folder: str) -> None:
        """Its file may not be read any more (a folder in its stead: as root no file mode could stop us)."""
        file = self.powercap.root / folder / "energy_uj"
        if file.is_file():
            file.unlink()
            file.mkdir()
        self.unknown.add(folder)

    def _show(self, folder: str) -> None:
        if (self.powercap.root / folder / "energy_uj").is_file():
            self.powercap.set(folder, self.counter_uj[folder])

    def truth(self) -> float | None:
        """The total that the setting asks for, in joules; None where a zone of it is unknown."""
        zones = IN_PACKAGE_TOTAL if self.what == "package" else {"intel-rapl:2"}
        return None if zones & self.unknown else sum(self.true_uj[zone] for zone in zones) / 1e6

    def said(self, start: Snapshot | None = None) -> float | None:
        return total(self.meter.between(start or self.start, self.meter.snapshot()))["measured"]


BUSY = {"package_0": 150.0, "core": 90.0, "dram": 20.0, "package_1": 140.0, "psys": 400.0}


@pytest.fixture(params=["package", "psys"])
def machine(request, tmp_path) -> Machine:
    return Machine(Powercap(tmp_path / "powercap"), request.param)


def test_the_total_is_what_the_setting_names_and_every_joule_is_in_it_once(machine):
    machine.use(**BUSY)
    assert machine.said() == machine.truth() == {"package": 620.0, "psys": 800.0}[machine.what]


@pytest.mark.parametrize("folder", ZONES)
def test_a_counter_that_wraps_is_followed_in_each_zone(folder, machine):
    name = ZONES[folder]
    machine.counter_uj[folder] = RANGE_UJ[name] - 1_000_000
    machine._show(folder)
    machine.start = _anew(machine)
    machine.use(**BUSY)
    readings = {one.domain: one for one in machine.meter.between(machine.start, machine.meter.snapshot())}
    assert sum(one.counter_wraps for one in readings.values()) == 1
    assert machine.said() == pytest.approx(machine.truth())


def _anew(machine: Machine) -> Snapshot:
    """The source opened again, where the counters stand now."""
    source = rapl.open_source(machine.meter.settings, clock=lambda: machine.now, slept=lambda: 0.0)
    machine.meter = EnergyMeter(machine.meter.settings, sources=[source], clock=lambda: machine.now)
    return machine.meter.snapshot()


@pytest.mark.parametrize("event", ["began anew", "closed"])
@pytest.mark.parametrize("folder", ZONES)
def test_a_zone_that_is_lost_takes_the_total_that_it_is_in_with_it_and_no_other(folder, event, machine):
    machine.use(**BUSY)
    middle = machine.meter.snapshot()
    if event == "closed":
        machine.close(folder)
    else:
        assert machine.begin_anew(folder)
    machine.meter.snapshot()
    machine.use(**BUSY)
    inside = folder in (IN_PACKAGE_TOTAL if machine.what == "package" else {"intel-rapl:2"})
    assert machine.said() == machine.truth()
    assert (machine.truth() is None) is inside
    assert (machine.said(middle) is None) is inside


@pytest.mark.parametrize("folder", ["intel-rapl:0", "intel-rapl:0:1"])
def test_nothing_is_attributed_of_a_window_or_by_an_idle_baseline_that_is_unknown(folder, tmp_path, monkeypatch):
    machine = Machine(Powercap(tmp_path / "powercap"))
    machine.use(**BUSY)
    assert machine.begin_anew(folder)
    readings = machine.meter.between(machine.start, machine.meter.snapshot())
    named = {"intel-rapl:0": "cpu_package:0", "intel-rapl:0:1": "dram:0"}[folder]
    parts = attribute(readings, share=0.5, idle_w=dict.fromkeys([one.domain for one in readings], 1.0))
    assert parts
    assert not [part for part in parts if part.part_of == named]

    def reset_meanwhile(seconds: float) -> None:
        machine.use(**BUSY)
        assert machine.begin_anew("intel-rapl:1")

    monkeypatch.setattr(time, "sleep", reset_meanwhile)
    idle = measure_idle(machine.meter, 2.0)
    assert "cpu_package:1" not in idle.watts
    assert idle.watts["cpu_package:0"] == pytest.approx(150.0)


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0, 86_400.0 * 365])
def test_a_wall_clock_that_is_set_changes_no_window_and_no_joule(step_s, powercap_on_real_clocks, monkeypatch):
    meter, powercap = powercap_on_real_clocks
    real = time.time
    start = meter.snapshot()
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    powercap.set("intel-rapl:0", 5_000_000)
    end = meter.snapshot()
    (reading,) = meter.between(start, end)
    assert reading.joules == 5.0
    assert 0.0 <= reading.window_s < 60.0


@pytest.fixture
def powercap_on_real_clocks(tmp_path) -> tuple[EnergyMeter, Powercap]:
    powercap = Powercap(tmp_path / "powercap")
    powercap.zone("intel-rapl:0", "package-0", 0)
    return EnergyMeter(powercap.settings()), powercap


@pytest.mark.parametrize("range_text", ["", "nonsense", None])
def test_a_zone_without_its_range_is_unknown_and_so_is_the_total(range_text, tmp_path):
    powercap = Powercap(tmp_path / "powercap")
    powercap.zone("intel-rapl:0", "package-0", 0)
    place = powercap.zone("intel-rapl:1", "package-1", 0)
    file = place / "max_energy_range_uj"
    file.unlink() if range_text is None else file.write_text(range_text)
    meter = EnergyMeter(powercap.settings())
    start = meter.snapshot()
    powercap.set("intel-rapl:0", 5_000_000)
    assert total(meter.between(start, meter.snapshot())) == {"measured": None, "unavailable": None}


EVENT = st.tuples(
    st.fixed_dictionaries({name.replace("-", "_"): st.floats(0.0, 900.0) for name in ZONES.values()}),
    st.sampled_from(["", "", "", "began anew", "closed"]),
    st.sampled_from(sorted(ZONES)),
    st.floats(-1e5, 1e5),
)
"""Two seconds: each zone's watts, what happens then and to which zone, and by how much the wall clock is set."""


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["package", "psys"]),
    st.dictionaries(st.sampled_from(sorted(ZONES)), st.floats(0.0, 1.0)),
    st.lists(EVENT, max_size=25),
)
def test_whatever_happens_a_total_is_right_or_null(tmp_path_factory, what, began_at, events):
    folder: Path = tmp_path_factory.mktemp("counters") / "powercap"
    machine = Machine(Powercap(folder), what)
    for zone, share in began_at.items():
        machine.counter_uj[zone] = int(share * (RANGE_UJ[ZONES[zone]] - 1))
        machine._show(zone)
    machine.start = _anew(machine)
    real, step_s = time.time, [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: real() + step_s[0])
        for watts, event, zone, set_by in events:
            before, used_before, lost = machine.meter.snapshot(), dict(machine.true_uj), set(machine.unknown)
            machine.use(**watts)
            machine.meter.snapshot()
            if event == "began anew" and zone not in machine.unknown:
                machine.begin_anew(zone)
            elif event == "closed":
                machine.close(zone)
            step_s[0] += set_by
            counted = IN_PACKAGE_TOTAL if what == "package" else {"intel-rapl:2"}
            truth = sum(machine.true_uj[one] - used_before[one] for one in counted) / 1e6
            # A window that began after a reset is known again; one that a file was closed in, or before, is not.
            closed = {one for one in machine.unknown if not (folder / one / "energy_uj").is_file()}
            hidden = counted & (closed | (machine.unknown - lost))
            said = machine.said(before)
            assert said == (None if hidden else pytest.approx(truth))
        whole = machine.truth()
        assert machine.said() == (None if whole is None else pytest.approx(whole))
