"""The garbage collector is as it was after a load, however that ends. In a process of its own: the heap is shared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import torch

from tests.checkpoint.saved_checkpoints import save

ROOT = Path(__file__).parents[2]
PROGRAM = """
import contextlib, gc, sys, time
from concurrent.futures import ThreadPoolExecutor
import torch
import torch.distributed.checkpoint as dcp
from millrace.checkpoint.engine.gc_pause import HeapFreeze
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import load

def settled(limit_s=60):
    end = time.monotonic() + limit_s
    while time.monotonic() < end and (not gc.isenabled() or gc.get_freeze_count()):
        time.sleep(0.05)
    return gc.isenabled() and gc.get_freeze_count() == 0

def one(wanted, limit_s=20):
    reader = ParallelFileSystemReader(sys.argv[1])
    reader._freeze = HeapFreeze(limit_s)
    with contextlib.suppress(dcp.api.CheckpointException):
        load({wanted: torch.zeros(5)}, reader)
    assert reader._freeze._timer is None or wanted == "missing"
    return reader

one("a")
assert gc.isenabled() and gc.get_freeze_count() == 0, "a load that ends well"
kept = one("missing", limit_s=0.2)
assert settled(), "a load that fails in the planner"
with ThreadPoolExecutor(4) as pool:
    list(pool.map(one, ["a"] * 12))
assert settled(1), "many at once"
gc.freeze()
frozen = gc.get_freeze_count()
one("a")
assert gc.get_freeze_count() > frozen / 2, "frozen by the program"
gc.disable()
one("a")
assert not gc.isenabled(), "disabled by the program"
"""


def test_the_collector_is_left_as_it_was_however_a_load_ends(tmp_path: Path) -> None:
    save({"a": torch.ones(5)} | {f"w{index}": torch.ones(1) for index in range(1200)}, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
