"""A full disk: threads end without a traceback, what is measured goes on, and whatever was started is stopped."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from millrace.training.backgrounds.background_group import Backgrounds
from millrace.training.campaign import plan_for
from millrace.training.observation import Observation

FULL = Path("/dev/full")
pytestmark = pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")


@pytest.fixture
def thread_errors(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What threads died of."""
    found: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


def test_a_background_whose_files_cannot_be_written_goes_on_and_its_threads_leave_no_traceback(
    make_config, tmp_path, thread_errors, caplog
):
    beside = [{"workload": "forever", "id": "load", "hyperparameters": {"pause": 0.02}, "grace_s": 0.3}]
    config = make_config({"workload": "good", "mode": "parallel", "backgrounds": beside})
    (run,) = plan_for(config).runs
    place = tmp_path / "load"
    place.mkdir()
    for name in ("states.jsonl", "events.jsonl", "output.log"):
        (place / name).symlink_to(FULL)
    with Backgrounds(run.backgrounds, config, tmp_path) as loads:
        loads.wait_until_training()
        (loop,) = loads.loops
        seen = loop._seen
        assert seen is not None
        while len(seen.epochs) < 3:
            loads.check()
    assert loop.state == "stopped"
    assert thread_errors == []
    assert "on_line failed" not in caplog.text


def test_backgrounds_that_cannot_all_be_started_leave_none_running(make_config, tmp_path):
    beside = [{"workload": "forever", "id": name, "grace_s": 0.3} for name in ("first", "second")]
    config = make_config({"workload": "good", "mode": "parallel", "backgrounds": beside})
    (run,) = plan_for(config).runs
    (tmp_path / "second").write_text("a file is in the way")
    loads = Backgrounds(run.backgrounds, config, tmp_path)
    with pytest.raises(OSError, match="second"), loads:
        pass
    assert loads.loops[0].state == "stopped"
    assert not loads.loops[0]._thread.is_alive()


def test_an_observer_that_cannot_write_events_still_knows_them(make_config, tmp_path):
    (run,) = plan_for(make_config({"workload": "good"})).runs
    seen = Observation(run.program, FULL)
    seen.take_line(json.dumps({"event": "epoch", "n": 1, "t": 1.0}))
    assert seen.epochs_done == 1
    seen.close()


def test_a_training_says_what_it_does_also_when_its_own_file_is_full(tmp_path):
    (tmp_path / "events.jsonl").symlink_to(FULL)
    command = [sys.executable, "-m", "millrace.training.trainer.worker", "tabular_mlp", "--epochs", "1", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()][-1] == "end"
    assert "Traceback" not in done.stderr
