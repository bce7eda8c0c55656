"""What the training tests share: small training programs without torch, and a config around them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from millrace.config import parse_config
from millrace.training.settings import TrainingConfig

STEPS = """
import json, os, signal, sys, time
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
epochs, pause = int(options.get("--epochs", 3)), float(options.get("--pause", 0.05))
def say(event, **more):
    print(json.dumps({"event": event, "t": time.time(), **more}), flush=True)
values = {"epochs": epochs, "pause": pause}
if "--lr" in options:
    values["lr"] = float(options["--lr"])
"""

GOOD = (
    STEPS
    + """
say("start", hyperparameters=values)
say("ready")
done = 0
while True:
    for n in range(1, epochs + 1):
        started = time.time()
        time.sleep(pause)
        done += 10
        say("epoch", n=n, started=started, wall_s=time.time() - started, samples=10, samples_total=done, loss=1 / n,
            metrics={"score": 1 - 1 / (n + 1)})
    say("end", ok=True, metrics={"score": 0.9})
    if "--forever" not in options:
        break
"""
)

FOREVER = GOOD.replace('"--forever" not in options', "False")

PROGRAMS = {
    "good": GOOD,
    "forever": FOREVER,
    "crash": STEPS + 'print("about to fail"); sys.exit(3)',
    "crash_late": GOOD.replace('        done += 10\n', '        done += 10\n        if n == 2: sys.exit(4)\n'),
    "stubborn": "import signal\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\n" + FOREVER,
    "silent": "import time; time.sleep(600)",
    "liar": 'print("training completed successfully")\nprint("Rank@1: 0.9")\nprint("x" * 2000)\nraise SystemExit(139)',
    "half": STEPS + 'say("ready"); say("epoch", n=1, metrics={"score": 0.5})',
    "other_values": GOOD.replace('float(options["--lr"])', 'round(float(options["--lr"]), 6)'),
    "out_of_memory": 'raise MemoryError("cannot allocate 300 GB")',
    "segfault": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "flaky": (
        "import os, sys\nfrom pathlib import Path\nmark = Path(os.environ['MARK'])\n"
        "if not mark.exists():\n    mark.touch(); sys.exit(5)\n" + GOOD
    ),
    "noisy": GOOD + '\nsys.stdout.flush()\nfor _ in range(300): os.write(1, b"\\xff\\xfe noise " * 10000)\n',
    "greedy": GOOD.replace('say("ready")', 'say("ready"); held = bytearray(400 << 20)'),
}  # fmt: skip

PARAMETERS = {
    "epochs": {"type": "int", "default": 3, "range": [1, 50]},
    "pause": {"default": 0.05, "range": [0.0, 1.0]},
    "lr": {"default": 0.1, "range": [0.05, 0.15], "distribution": "log_uniform"},
}


@pytest.fixture
def external(tmp_path: Path) -> dict[str, Any]:
    """`PROGRAMS` as external workloads that speak in events."""
    made: dict[str, Any] = {}
    for name, code in PROGRAMS.items():
        path = tmp_path / f"{name}.py"
        path.write_text(code)
        made[name] = {
            "command": [sys.executable, "-I", "-S", str(path)],
            "parameters": PARAMETERS,
            "adapter": "jsonl",
            "metrics": {"score": "score"},
            "epochs_parameter": "epochs",
        }
    return made


@pytest.fixture
def make_config(external: dict[str, Any]):
    """A config with the small programs and no waiting."""

    def make(*experiments: dict[str, Any], **more: Any) -> TrainingConfig:
        data: dict[str, Any] = {
            "experiments": list(experiments),
            "mode": "default",
            "external": external,
            "cool_down": {"max_s": 0},
            "retry_wait_s": 0,
            "energy": {"idle_s": 0},
            "colocation": {"background_alone_s": 0.2},
            "max_failure_rate": 1.0,
        }
        return parse_config(TrainingConfig, data | more, where="the test")

    return make
