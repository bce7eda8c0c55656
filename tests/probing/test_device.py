"""Which device a rank computes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from millrace.probing.device import DRIVERS, device_of, has_driver


@pytest.mark.parametrize("name", DRIVERS)
def test_a_driver_of_any_kind_is_seen(tmp_path: Path, name: str) -> None:
    assert not has_driver(tmp_path)
    (tmp_path / name).touch()
    assert has_driver(tmp_path)


@pytest.mark.skipif(has_driver(), reason="needs a machine without a GPU")
def test_without_a_gpu_the_device_is_the_cpu_and_torch_is_not_imported() -> None:
    program = "import sys; from millrace.probing.device import device_of; print(device_of('auto'), 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).split() == ["cpu", "False"]
    assert device_of("cpu", 3) == "cpu"
