"""Checkpoints of 1, 2 and 4 ranks load on 1, 2 and 4 ranks, whatever the sharding."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.training.launch import loopback_interface
from millrace.training.programs import MEET_ON_LOOPBACK

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_number_of_ranks_loads_what_any_number_saved(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", *MEET_ON_LOOPBACK, "--nproc-per-node=4"]
    own = {"GLOO_SOCKET_IFNAME": loopback} if (loopback := loopback_interface()) else {}
    ranks = subprocess.Popen(
        [*command, str(ROOT / "tests/checkpoint/ranks_program.py"), str(tmp_path)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1", "HOME": str(tmp_path), **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = ranks.communicate(timeout=200)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(ranks.pid, signal.SIGKILL)
    assert ranks.returncode == 0, stderr[-4000:]
    assert sorted(line for line in stdout.splitlines() if line.startswith("rank")) == [
        f"rank {rank}: {loads} loads, 6 of fully sharded models" for rank, loads in enumerate((9, 6, 3, 3))
    ]
