"""The records of the training domain: the bytes that earlier versions wrote, and back."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from millrace.errors import RunFailed
from millrace.records.training.energy import EnergyDomain
from millrace.records.training.machine import GovernorState, HostLoad, IdleBaseline, MachineFacts, Setting
from millrace.run.journal import read_record, write_json

WRITTEN = {
    "machine": {
        "host": "h",
        "system": "Linux 6",
        "cpu": None,
        "cpus": 2,
        "cpus_usable": 2,
        "memory_bytes": 1 << 33,
        "user_is_root": True,
    },
    "versions": {"python": "3.11.7", "torch": None},
    "governor": {"before": ["powersave"], "asked": None, "set": False, "reason": None},
    "energy_sources": [
        {
            "name": "cpu_package:0",
            "scope": "socket",
            "method": "rapl",
            "kind": "measured",
            "part_of": None,
            "uncertainty": None,
            "contains": ["dram:0"],
        }
    ],
    "energy_unavailable": {"nvml": "no driver"},
    "idle": {
        "seconds": 2.0,
        "watts": {"cpu_package:0": 3.25},
        "host": {"window_s": 2.0, "host_busy_cpus": 0.1, "others_busy_cpus": None, "psi_cpu_some": 0.0},
    },
    "idle_w": {"cpu_package:0": 3.25},
    "swept_pids": [7],
    "sessions": 2,
}
"""What a campaign wrote when its setting was a dictionary."""


def setting() -> Setting:
    machine = MachineFacts(host="h", system="Linux 6", cpu=None, cpus=2, cpus_usable=2, memory_bytes=1 << 33, user_is_root=True)
    load = HostLoad(window_s=2.0, host_busy_cpus=0.1, others_busy_cpus=None, psi_cpu_some=0.0)
    return Setting(
        machine=machine,
        versions={"python": "3.11.7", "torch": None},
        governor=GovernorState(before=["powersave"], asked=None, set=False, reason=None),
        energy_sources=[EnergyDomain("cpu_package:0", "socket", "rapl", contains=("dram:0",))],
        energy_unavailable={"nvml": "no driver"},
        idle=IdleBaseline(seconds=2.0, watts={"cpu_package:0": 3.25}, host=load),
        idle_w={"cpu_package:0": 3.25},
        swept_pids=[7],
        sessions=2,
    )


def test_a_setting_has_the_bytes_it_had_and_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "setting.json", setting())
    assert (tmp_path / "setting.json").read_bytes() == orjson.dumps(WRITTEN, option=orjson.OPT_INDENT_2) + b"\n"
    assert read_record(tmp_path / "setting.json", Setting) == setting()


def test_a_setting_of_another_shape_is_an_error_that_names_file_and_field(tmp_path: Path) -> None:
    write_json(tmp_path / "setting.json", WRITTEN | {"idle": {"seconds": "2", "watts": {}, "host": None}})
    with pytest.raises(RunFailed, match=r"setting\.json.*idle\.seconds"):
        read_record(tmp_path / "setting.json", Setting)
