"""What `python -m flows.compare` takes beside the options of every flow: two runs as arguments, and `verify`."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from millrace.compare.settings import CompareSettings


def flow_arguments(given: Sequence[str]) -> list[str]:
    """`RUN_A RUN_B --set margin=0.01` as the options that every flow has.

    The runs become settings, settings of `compare` need no prefix, and two runs have a folder of their own, the same each time.
    """
    rest = list(given)
    runs: list[str] = []
    while rest and not rest[0].startswith("-") and len(runs) < 2:
        runs.append(rest.pop(0))
    for position, one in enumerate(rest):
        inside = one.split("=")[0].split(".")[0] in CompareSettings.model_fields
        if position and rest[position - 1] == "--set" and inside:
            rest[position] = f"compare.{one}"
    paths = [str(Path(run).absolute()) for run in runs]
    for side, path in zip(("before", "after"), paths, strict=False):
        rest += ["--set", f"compare.{side}.run={json.dumps(path)}"]
    if len(runs) == 2 and not any(one == "--run-dir" or one.startswith("--run-dir=") for one in rest):
        name = "-".join(Path(path).name for path in paths)
        rest += ["--run-dir", f"runs/compare/{name}-{hashlib.sha256(' '.join(paths).encode()).hexdigest()[:6]}"]
    return rest


def verify_command(argv: Sequence[str]) -> int:
    """Compute every figure of a finished comparison again, from the journals; returns the exit code."""
    from millrace.compare.verification.verify import verify

    parser = argparse.ArgumentParser(
        prog="python -m flows.compare verify", description="Compute every figure again, from the journals, by other code."
    )
    parser.add_argument("run_dir", type=Path)
    lines, same = verify(parser.parse_args(argv).run_dir)
    print("\n".join(lines))  # noqa: T201 - the command's answer
    return 0 if same else 1


SUBCOMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"verify": verify_command}
