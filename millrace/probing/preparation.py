"""What a baseline needs before ranks can open it: the embedded one has to be trained, once for its code and settings.

A plug-in that needs something has a function `preparation(settings)`: the command of a program to run, or None when all is there.
The program prints its progress as JSON lines, `{"done": 3, "total": 20}`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from millrace.errors import RunFailed
from millrace.plugins.loading import load_plugin
from millrace.probing.baselines import PACKAGE, baseline_settings
from millrace.probing.ranks.launch import rank_environment
from millrace.processes.supervised import supervised


def prepare_baseline(baseline: Mapping[str, Any], logs: Path, on_progress: Callable[[int, int], None]) -> bool:
    """Run the baseline's preparation, if it needs one; says whether it did.

    Args:
        baseline: the config's part: the plug-in's name and its settings.
        logs: gets `baseline.log`.
        on_progress: called with (done, total).

    Raises:
        RunFailed: the program failed; the message holds its last words.
    """
    settings = baseline_settings(baseline)
    module = load_plugin(PACKAGE, str(baseline.get("name", "embedded")), "baseline")
    command = module.preparation(settings)
    if command is None:
        return False

    def read(line: str) -> None:
        with contextlib.suppress(orjson.JSONDecodeError, KeyError, TypeError):
            progress = orjson.loads(line)
            on_progress(int(progress["done"]), int(progress["total"]))

    environment = rank_environment(os.environ)
    del environment["OMP_NUM_THREADS"]  # a training sets its own number of threads
    environment.setdefault("GOMP_SPINCOUNT", "10000")  # by default threads wait spinning, which on shared cores costs minutes
    with supervised(command, log=logs / "baseline.log", env=environment, on_line=read) as process:
        code = process.wait()
    if code != 0:
        words = [line for line in process.tail(2000).splitlines() if line.strip() and not line.startswith("{")]
        raise RunFailed(f"the baseline could not be made ({words[-1] if words else f'exit {code}'}); see {logs / 'baseline.log'}")
    return True
