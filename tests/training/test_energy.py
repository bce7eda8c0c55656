"""Energy figures: exact where there is a counter, null where there is none, and always labelled."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.records.training.energy import EnergyReading
from millrace.records.training.machine import HostLoad
from millrace.training.doctor import examine, main
from millrace.training.energy import Domain, Unavailable, codecarbon, nvml, rapl, zeus
from millrace.training.machine import Load, cool_down, governor, load_of_others
from millrace.training.meter import EnergyMeter, attribute, estimate, total
from millrace.training.settings import CoolDown, EnergySettings
from tests.training.powercap import Powercap


@pytest.fixture
def powercap(tmp_path):
    return Powercap(tmp_path / "powercap")


class FakeSource:
    """Counters that a test moves by hand."""

    poll_every_s = 1000.0

    def __init__(self, **joules: float | None) -> None:
        self.joules = dict(joules)
        self.domains = [Domain(name, "socket", "fake") for name in joules]

    def read(self) -> dict[str, float | None]:
        return dict(self.joules)

    def wraps(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


def test_rapl_counts_every_zone_exactly_and_once(powercap):
    powercap.zone("intel-rapl:0", "package-0", 1_000_000)
    powercap.zone("intel-rapl:0:0", "core", 500_000)
    powercap.zone("intel-rapl:0:1", "dram", 200_000)
    powercap.zone("intel-rapl:1", "package-1", 7_000_000)
    meter = EnergyMeter(powercap.settings())
    start = meter.snapshot()
    for folder, now in (("0", 4_500_000), ("0:0", 2_500_000), ("0:1", 700_000), ("1", 7_250_000)):
        powercap.set(f"intel-rapl:{folder}", now)
    readings = {reading.domain: reading for reading in meter.between(start, meter.snapshot())}
    assert {name: reading.joules for name, reading in readings.items()} == {
        "cpu_package:0": 3.5, "cpu_cores:0": 2.0, "dram:0": 0.5, "cpu_package:1": 0.25,
    }  # fmt: skip
    assert readings["cpu_cores:0"].part_of == "cpu_package:0"
    assert {reading.kind for reading in readings.values()} == {"measured"}
    assert total(readings.values()) == {"measured": 3.5 + 0.5 + 0.25}


def test_a_counter_that_wraps_twice_is_still_right_and_says_so(powercap):
    powercap.zone("intel-rapl:0", "package-0", 60_000_000, whole=65_000_000)
    meter = EnergyMeter(powercap.settings())
    start = meter.snapshot()
    for now in (10_000_000, 50_000_000, 5_000_000):
        powercap.set("intel-rapl:0", now)
        end = meter.snapshot()
    (reading,) = meter.between(start, end)
    assert reading.joules == pytest.approx(15 + 40 + 20)
    assert reading.counter_wraps == 2


def test_missing_domains_are_missing_and_not_zero(powercap):
    powercap.zone("intel-rapl:0", "package-0", 0)
    meter = EnergyMeter(powercap.settings())
    start = meter.snapshot()
    assert [reading.domain for reading in meter.between(start, meter.snapshot())] == ["cpu_package:0"]


def test_a_zone_that_becomes_unreadable_is_unknown_from_then_on(powercap):
    place = powercap.zone("intel-rapl:0", "package-0", 0)
    meter = EnergyMeter(powercap.settings())
    start = meter.snapshot()
    (place / "energy_uj").unlink()
    middle = meter.snapshot()
    powercap.set("intel-rapl:0", 5_000_000)
    for end in (middle, meter.snapshot()):
        (reading,) = meter.between(start, end)
        assert (reading.joules, reading.kind) == (None, "unavailable")
        assert "could not be read" in reading.reason


def test_a_host_without_powercap_says_unavailable_and_why(tmp_path):
    meter = EnergyMeter(EnergySettings(providers=["rapl"], powercap=tmp_path / "none"))
    (reading,) = meter.between(meter.snapshot(), meter.snapshot())
    assert reading.joules is None
    assert reading.kind == "unavailable"
    assert "no RAPL counters" in reading.reason
    assert total([reading]) == {"unavailable": None}


def test_files_that_only_root_may_read_are_named_with_the_cure(powercap, monkeypatch):
    powercap.zone("intel-rapl:0", "package-0", 0)

    def closed(self, *args, **kwargs):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return original(self, *args, **kwargs)

    original = Path.read_text
    monkeypatch.setattr(Path, "read_text", closed)  # as root no file mode could stop us
    with pytest.raises(Unavailable, match="chmod a\\+r"):
        rapl.open_source(powercap.settings())


class FakeNvml:
    """Two GPUs; the second one has no energy counter."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.energy_mj = 1_000_000
        self.power_mw = 100_000
        self.broken = False

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        if handle == 1 or self.broken:
            raise self.NVMLError("Not Supported")
        return self.energy_mj

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self.power_mw

    def nvmlShutdown(self) -> None:
        pass


def test_nvml_uses_the_counter_and_integrates_power_over_real_time_where_there_is_none():
    fake, now = FakeNvml(), [0.0]
    meter = EnergyMeter(EnergySettings(), sources=[nvml.Nvml(fake, clock=lambda: now[0])])
    start = meter.snapshot()
    fake.energy_mj += 2_500
    now[0], fake.power_mw = 2.0, 300_000  # trapezium: (100 + 300) / 2 * 2 s
    meter.snapshot()
    now[0] = 2.5  # 300 W for half a second
    readings = {reading.domain: reading for reading in meter.between(start, meter.snapshot())}
    assert readings["gpu:0"].joules == pytest.approx(2.5)
    assert readings["gpu:0"].method == "nvml_counter"
    assert readings["gpu:1"].joules == pytest.approx(400 + 150)
    assert readings["gpu:1"].method == "nvml_power_integral"


def test_a_gpu_that_falls_off_the_bus_is_unknown_and_the_other_one_known():
    fake = FakeNvml()
    meter = EnergyMeter(EnergySettings(), sources=[nvml.Nvml(fake, clock=lambda: 0.0)])
    start = meter.snapshot()
    fake.broken = True
    readings = {reading.domain: reading for reading in meter.between(start, meter.snapshot())}
    assert readings["gpu:0"].joules is None
    assert readings["gpu:1"].joules == 0.0


def test_empty_answers_of_zeus_are_unknown_and_never_zero(monkeypatch):
    windows: list[SimpleNamespace] = []
    monitor = SimpleNamespace(
        begin_window=lambda name: None,
        end_window=lambda name: windows.pop(0) if windows else SimpleNamespace(gpu_energy={}, cpu_energy=None, dram_energy=None),
    )
    with pytest.raises(Unavailable, match="nothing to measure"):
        zeus.Zeus(monitor)
    windows += [SimpleNamespace(gpu_energy={0: 1.0}, cpu_energy={0: 2.0}, dram_energy=None) for _ in range(3)]
    source = zeus.Zeus(monitor)
    assert source.read() == {"gpu:0": 2.0, "cpu_package:0": 4.0}
    module = ModuleType("zeus")
    module.monitor = ModuleType("zeus.monitor")
    module.monitor.ZeusMonitor = lambda **_: monitor
    monkeypatch.setitem(sys.modules, "zeus", module)
    monkeypatch.setitem(sys.modules, "zeus.monitor", module.monitor)
    windows[:] = [SimpleNamespace(gpu_energy={0: 1.0}, cpu_energy=None, dram_energy=None)]
    assert [domain.name for domain in zeus.open_source(EnergySettings()).domains] == ["gpu:0"]


def test_codecarbon_needs_a_country_and_is_an_estimate_with_ram_apart():
    with pytest.raises(Unavailable, match="country"):
        codecarbon.open_source(EnergySettings())
    tracker = SimpleNamespace(
        start_task=lambda name: None, stop_task=lambda name: SimpleNamespace(cpu_energy=1e-6, ram_energy=2e-6)
    )
    source = codecarbon.CodeCarbon(tracker)
    assert source.read() == {"cpu": pytest.approx(3.6), "ram": pytest.approx(7.2)}
    assert {domain.kind for domain in source.domains} == {"estimated"}


def test_attribution_shares_what_is_above_idle_by_cpu_time_and_adds_up():
    measured = EnergyReading("cpu_package:0", 100.0, "measured", "rapl_powercap", "socket", window_s=2.0)
    parts = attribute([measured], share=0.25, idle_w={"cpu_package:0": 10.0})
    assert {part.domain: part.joules for part in parts} == {
        "cpu_package:0/foreground": 20.0, "cpu_package:0/idle": 20.0, "cpu_package:0/rest": 60.0,
    }  # fmt: skip
    assert {part.kind for part in parts} == {"attributed"}
    assert sum(part.joules for part in parts) == measured.joules


def test_without_an_idle_baseline_nothing_is_attributed():
    measured = EnergyReading("cpu_package:0", 100.0, "measured", "rapl_powercap", "socket", window_s=2.0)
    assert attribute([measured], share=0.25, idle_w={}) == []
    assert attribute([measured], share=None, idle_w={"cpu_package:0": 10.0}) == []


def test_figures_of_different_kinds_are_never_added():
    readings = [
        EnergyReading("cpu_package:0", 100.0, "measured", "rapl", "socket"),
        EnergyReading("cpu", 50.0, "estimated", "tdp", "process_tree"),
        EnergyReading("gpu:0", None, "unavailable", "nvml", "device", reason="x"),
    ]
    assert total(readings) == {"measured": 100.0, "estimated": 50.0, "unavailable": None}


def test_an_estimate_has_two_digits_carries_its_constant_and_needs_one():
    guess = estimate(12.345, 7.0, 20.0)
    assert (guess.joules, guess.kind) == (86.0, "estimated")
    assert "7 W" in guess.uncertainty
    assert estimate(12.345, None, 20.0) is None


def test_the_meter_reads_often_enough_by_itself():
    source = FakeSource(a=1.0)
    source.poll_every_s = 0.01
    with EnergyMeter(EnergySettings(), sources=[source]) as meter:
        start = meter.snapshot()
        while meter.snapshot().samples < start.samples + 5:
            pass
        (reading,) = meter.between(start, meter.snapshot())
    assert reading.samples > 5


def test_the_governor_is_set_for_the_block_and_restored(tmp_path):
    files = []
    for cpu in range(2):
        place = tmp_path / "devices" / "system" / "cpu" / f"cpu{cpu}" / "cpufreq"
        place.mkdir(parents=True)
        files.append(place / "scaling_governor")
        files[-1].write_text(f"{'powersave' if cpu else 'schedutil'}\n")
    with governor("performance", tmp_path) as found:
        assert [file.read_text() for file in files] == ["performance", "performance"]
    assert [file.read_text() for file in files] == ["schedutil", "powersave"]
    assert (found.before, found.asked) == (["powersave", "schedutil"], "performance")
    assert (found.set, found.reason) == (True, None)


def test_a_governor_that_cannot_be_set_is_recorded_and_does_not_stop_the_run(tmp_path):
    with governor("performance", tmp_path) as found:
        assert found.set is False
        assert "no CPU governor" in found.reason


def test_the_governor_is_only_read_when_none_is_asked_for(tmp_path):
    with governor(None, tmp_path) as found:
        assert found.before is None
        assert found.reason is None


def test_cooling_down_waits_for_calm_and_for_a_limited_time():
    busy = iter([0.0, 1.9, 3.8, 4.0, 4.1, 4.2, 4.3])
    at = iter(range(100))
    load = lambda: Load(next(at), next(busy), None)  # noqa: E731
    slept: list[float] = []
    calm = cool_down(CoolDown(max_s=60, cpu_busy_below=0.4), load=load, sleep=slept.append)
    assert calm.reached
    assert calm.waited_s <= 4
    hot = cool_down(CoolDown(max_s=3, temperature_below_c=50), temperature=lambda: 80.0, sleep=lambda _: None)
    assert (hot.reached, hot.waited_s, hot.temperature_c) == (False, 3, 80.0)
    assert cool_down(CoolDown(max_s=0)).waited_s == 0


def test_strangers_are_what_the_host_did_without_us():
    start, end = Load(0.0, 100.0, 10.0), Load(10.0, 115.0, 12.0)
    assert load_of_others(start, end, 5.0) == HostLoad(window_s=10.0, host_busy_cpus=1.5, others_busy_cpus=1.0, psi_cpu_some=0.2)
    assert load_of_others(Load(0.0, None, None), end, 5.0).others_busy_cpus is None


def test_the_doctor_knows_every_source_and_every_cage(capsys):
    found = examine()
    assert set(found.energy) == {"rapl", "nvml", "zeus", "codecarbon"}
    assert all(one.available or one.reason for one in found.energy.values())
    assert {"pidns", "userns", "subreaper", "group", "cgroup"} == set(found.containment)
    assert main([]) == 0
    assert "Energy" in capsys.readouterr().out


def measured_total(meter: EnergyMeter, start) -> float | None:
    return total(meter.between(start, meter.snapshot()))["measured"]


@pytest.mark.parametrize(("what", "joules"), [("package", 120.0), ("psys", 250.0)])
def test_the_platform_and_its_packages_are_never_added_and_a_setting_says_which_is_the_total(what, joules, powercap):
    powercap.zone("intel-rapl:0", "package-0", 0)
    powercap.zone("intel-rapl:0:0", "core", 0)
    powercap.zone("intel-rapl:0:1", "dram", 0)
    powercap.zone("intel-rapl:1", "psys", 0)
    settings = EnergySettings(providers=["rapl"], powercap=powercap.root, rapl_total=what)
    meter = EnergyMeter(settings)
    start = meter.snapshot()
    for folder, now in (("0", 100), ("0:0", 60), ("0:1", 20), ("1", 250)):
        powercap.set(f"intel-rapl:{folder}", now * 1_000_000)
    readings = meter.between(start, meter.snapshot())
    assert total(readings) == {"measured": joules}
    assert {reading.domain: reading.joules for reading in readings}["platform:1"] == 250.0  # shown either way
    parts = attribute(readings, share=0.5, idle_w={"cpu_package:0": 0.0})
    assert {part.domain: part.joules for part in parts}["cpu_package:0/foreground"] == 50.0
    assert total([*readings, *parts]) == {"measured": joules}


def test_psys_as_the_total_of_a_machine_without_it_is_said_and_not_replaced_by_something_smaller(powercap):
    powercap.zone("intel-rapl:0", "package-0", 0)
    meter = EnergyMeter(EnergySettings(providers=["rapl"], powercap=powercap.root, rapl_total="psys"))
    (reading,) = meter.between(meter.snapshot(), meter.snapshot())
    assert reading.joules is None
    assert "no psys zone" in reading.reason


@pytest.mark.parametrize("before_j", [3_389, 20_000, 60_000])
def test_a_counter_that_began_anew_makes_its_window_unknown_and_the_next_one_right(before_j, powercap):
    powercap.zone("intel-rapl:0", "package-0", before_j * 1_000_000, whole=65_532_610_987)
    now = [0.0]
    meter = EnergyMeter(EnergySettings(), sources=[rapl.open_source(powercap.settings(), clock=lambda: now[0], slept=lambda: 0)])
    start = meter.snapshot()
    now[0], middle = 1.0, None
    powercap.set("intel-rapl:0", 5_000_000)
    middle = meter.snapshot()
    (reading,) = meter.between(start, middle)
    assert (reading.joules, reading.kind, reading.counter_wraps) == (None, "unavailable", 0)
    assert total([reading])["measured"] is None
    after = meter.snapshot()
    now[0] = 2.0
    powercap.set("intel-rapl:0", 47_000_000)
    assert measured_total(meter, after) == 42.0
    assert measured_total(meter, start) is None  # the long window holds the reset


def test_a_real_wrap_at_full_power_is_not_taken_for_a_reset(powercap):
    powercap.zone("intel-rapl:0", "package-0", 65_000_000_000, whole=65_532_610_987)
    now = [0.0]
    meter = EnergyMeter(EnergySettings(), sources=[rapl.open_source(powercap.settings(), clock=lambda: now[0], slept=lambda: 0)])
    start = meter.snapshot()
    now[0] = 2.0
    powercap.set("intel-rapl:0", 267_389_013)  # 800 J in 2 s
    (reading,) = meter.between(start, meter.snapshot())
    assert reading.joules == pytest.approx(800.0)
    assert reading.counter_wraps == 1


@pytest.mark.parametrize("pause", ["stopped for minutes", "asleep"])
def test_a_stretch_in_which_a_counter_may_have_wrapped_twice_or_begun_anew_is_unknown(pause, powercap):
    powercap.zone("intel-rapl:0", "package-0", 10_000_000, whole=65_532_610_987)
    now, slept = [0.0], [0.0]
    source = rapl.open_source(powercap.settings(), clock=lambda: now[0], slept=lambda: slept[0])
    meter = EnergyMeter(EnergySettings(), sources=[source])
    start = meter.snapshot()
    now[0], slept[0] = (900.0, 0.0) if pause == "stopped for minutes" else (2.0, 3600.0)
    powercap.set("intel-rapl:0", 40_000_000)
    assert measured_total(meter, start) is None


def test_a_package_that_may_not_be_read_makes_the_total_unknown_and_not_smaller(powercap, monkeypatch):
    powercap.zone("intel-rapl:0", "package-0", 0)
    powercap.zone("intel-rapl:1", "package-1", 0)
    original = Path.read_text

    def closed(self, *args, **kwargs):
        if self.name == "energy_uj" and self.parent.name == "intel-rapl:1":
            raise PermissionError(13, "Permission denied")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", closed)  # as root no file mode could stop us
    meter = EnergyMeter(powercap.settings())
    start = meter.snapshot()
    powercap.set("intel-rapl:0", 5_000_000)
    readings = {reading.domain: reading.joules for reading in meter.between(start, meter.snapshot())}
    assert readings == {"cpu_package:0": 5.0, "cpu_package:1": None}
    assert measured_total(meter, start) is None


def test_a_folder_that_may_not_be_looked_into_is_not_called_one_without_zones(powercap, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.listdir", closed)
    with pytest.raises(Unavailable, match="may not be looked into"):
        rapl.open_source(powercap.settings())


def test_a_gpu_whose_driver_was_loaded_anew_is_unknown_for_that_window_and_never_negative():
    fake = FakeNvml()
    now = [0.0]
    meter = EnergyMeter(EnergySettings(), sources=[nvml.Nvml(fake, clock=lambda: now[0])])
    start = meter.snapshot()
    fake.energy_mj = 2_000
    middle = meter.snapshot()
    assert {one.domain: one.joules for one in meter.between(start, middle)}["gpu:0"] is None
    after = meter.snapshot()
    fake.energy_mj = 5_000
    now[0] = 60.0  # and the power sensor of the other one was not looked at for a minute
    assert {one.domain: one.joules for one in meter.between(after, meter.snapshot())} == {"gpu:0": 3.0, "gpu:1": None}


def test_a_package_that_two_sources_tell_of_is_in_the_total_once():
    sources = [FakeSource(**{"cpu_package:0": 0.0}), FakeSource(**{"cpu_package:0": 0.0})]
    meter = EnergyMeter(EnergySettings(), sources=sources)
    start = meter.snapshot()
    sources[0].joules["cpu_package:0"], sources[1].joules["cpu_package:0"] = 100.0, 90.0
    readings = meter.between(start, meter.snapshot())
    assert [reading.joules for reading in readings] == [100.0, 90.0]
    assert total(readings) == {"measured": 100.0}


def test_a_window_that_zeus_says_nothing_of_is_unknown_and_not_zero():
    windows = [SimpleNamespace(gpu_energy={0: 1.0}, cpu_energy=None, dram_energy=None) for _ in range(2)]
    windows += [SimpleNamespace(gpu_energy=None, cpu_energy=None, dram_energy=None)]
    monitor = SimpleNamespace(begin_window=lambda name: None, end_window=lambda name: windows.pop(0))
    meter = EnergyMeter(EnergySettings(), sources=[zeus.Zeus(monitor)])
    start = meter.snapshot()
    assert measured_total(meter, start) is None


STEPS = st.lists(st.tuples(st.floats(0.0, 900.0), st.booleans()), min_size=1, max_size=60)
"""Two seconds each: watts, and whether the counter begins anew at the end of them."""


@settings(max_examples=60, deadline=None)
@given(STEPS, st.integers(0, 65_000))
def test_whatever_wraps_or_begins_anew_a_window_is_right_or_unknown(tmp_path_factory, steps, first_j):
    powercap = Powercap(tmp_path_factory.mktemp("powercap") / "powercap")
    whole_uj = 65_532_610_987
    counter_uj = first_j * 1_000_000
    powercap.zone("intel-rapl:0", "package-0", counter_uj, whole=whole_uj)
    now = [0.0]
    source = rapl.open_source(powercap.settings(), clock=lambda: now[0], slept=lambda: 0.0)
    meter = EnergyMeter(EnergySettings(), sources=[source])
    start = before = meter.snapshot()
    true_uj, any_reset = 0, False
    for watts, reset in steps:
        used_uj = int(watts * 2.0 * 1e6)
        # What the counter stood at before it began anew must be told apart from a wrap (see the module's docstring).
        begins_anew = reset and 2_000_000 < counter_uj < whole_uj - 2_100_000_000
        counter_uj = used_uj % 1_000_000 if begins_anew else (counter_uj + used_uj) % whole_uj
        true_uj, any_reset = true_uj + used_uj, any_reset or begins_anew
        now[0] += 2.0
        powercap.set("intel-rapl:0", counter_uj)
        after = meter.snapshot()
        (reading,) = meter.between(before, after)
        assert reading.joules == (None if begins_anew else pytest.approx(used_uj / 1e6))
        before = meter.snapshot()
    (reading,) = meter.between(start, before)
    assert reading.joules == (None if any_reset else pytest.approx(true_uj / 1e6))
