"""What a training script pays for the reader beyond torch: no settings, no flow, no server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_reader_imports_nothing_heavy_beyond_torch() -> None:
    program = (
        "import sys, torch, torch.distributed.checkpoint; before = set(sys.modules); import millrace.checkpoint.reader\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    heavy = {
        "pydantic",
        "yaml",
        "prefect",
        "dask",
        "distributed",
        "sklearn",
        "scipy",
        "PIL",
        "pyarrow",
        "httpx",
        "fsspec",
        "aiohttp",
    }
    assert heavy & set(done.stdout.split()) == set()
