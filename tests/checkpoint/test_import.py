"""What a training script pays for the reader beyond torch: no settings, no flow, no server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.checkpoint.saved_checkpoints import filled, save

ROOT = Path(__file__).parents[2]
HEAVY = {
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


def loaded_beyond_torch(statement: str) -> set[str]:
    """The packages that a new interpreter loads for it, besides those of torch."""
    program = (
        f"import sys, torch, torch.distributed.checkpoint; before = set(sys.modules); {statement}\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}
    )
    return set(done.stdout.splitlines()[-1].split())


def test_the_reader_imports_nothing_heavy_beyond_torch() -> None:
    assert HEAVY & loaded_beyond_torch("import millrace.checkpoint.reader; from millrace.checkpoint import load") == set()


def test_the_command_that_verifies_loads_no_more_and_starts_no_flow(tmp_path: Path) -> None:
    save({"a": filled(3)}, tmp_path)
    statement = f"from millrace.cli import main; assert main(['checkpoint', 'verify', {str(tmp_path)!r}]) == 0"
    assert HEAVY & loaded_beyond_torch(statement) == set()
