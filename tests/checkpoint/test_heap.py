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
gc.unfreeze()
ParallelFileSystemReader(sys.argv[1]).read_metadata()
assert gc.isenabled() and gc.get_freeze_count() == 0, "metadata alone"
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


FORK = """
import gc, os, sys, threading, time
import torch
torch.set_num_threads(1)
from millrace.checkpoint.reader import ParallelFileSystemReader
from tests.checkpoint.saved_checkpoints import load

def one():
    return load({"a": torch.zeros(5)}, ParallelFileSystemReader(sys.argv[1]))

stop = threading.Event()
def loop():
    while not stop.is_set():
        one()
one()
threads = [threading.Thread(target=loop) for _ in range(2)]
for thread in threads:
    thread.start()
children = []
for number in range(40):
    time.sleep(0.011 * (number % 5))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if gc.isenabled() and not gc.get_freeze_count() and one()["a"].sum() == 5 else 2
        finally:
            os._exit(code)
    children.append(pid)
stop.set()
for thread in threads:
    thread.join()
end, codes = time.monotonic() + 60, []
while children and time.monotonic() < end:
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            children.remove(pid)
            codes.append(os.waitstatus_to_exitcode(status))
    time.sleep(0.05)
for pid in children:
    os.kill(pid, 9)
print(len(children), "hang;", sorted(set(codes)))
"""


def test_children_forked_while_threads_load_can_load_too(tmp_path: Path) -> None:
    save({"a": torch.ones(5)} | {f"w{index}": torch.ones(1) for index in range(1200)}, tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "0 hang; [0]\n", done.stdout + done.stderr[-2000:]
