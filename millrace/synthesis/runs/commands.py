"""What `python -m flows.synthesis` does beside the run: `trace` and `compare`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from millrace.config import load_config
from millrace.synthesis.settings import SynthesisConfig


def as_ours(argv: Sequence[str]) -> list[str]:
    """The options of the original's launcher by the names that they have here: `--seeds`, `--output-dir`."""
    found: list[str] = []
    for part in argv:
        if part == "--seeds" or part.startswith("--seeds="):
            found += ["--set", "seeds"] if part == "--seeds" else ["--set", part[2:]]
        elif found[-2:] == ["--set", "seeds"]:
            found[-1] = f"seeds={part}"
        else:
            found.append("--run-dir" + part.removeprefix("--output-dir") if part.partition("=")[0] == "--output-dir" else part)
    return found


def trace_command(argv: Sequence[str]) -> int:
    """Show how an item came to be, and prove it again; returns the exit code."""
    from millrace.synthesis.runs.trace import trace

    parser = argparse.ArgumentParser(
        prog="python -m flows.synthesis trace", description="Show how an item came to be, and prove it again."
    )
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("qa_id")
    options = parser.parse_args(argv)
    lines, proven = trace(options.run_dir, options.qa_id)
    print("\n".join(lines))  # noqa: T201 - the command's answer
    return 0 if proven else 1


def compare_command(argv: Sequence[str]) -> int:
    """Run serially and in parallel, and compare the files; returns the exit code."""
    from millrace.synthesis.runs.compare import compare

    parser = argparse.ArgumentParser(prog="python -m flows.synthesis compare", description="Run serial and parallel and compare.")
    parser.add_argument("--config", type=Path, metavar="FILE")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--run-dir", type=Path, default=Path("runs/synthesis-compare"))
    parser.add_argument(
        "--workers", type=int, default=0, help="of the parallel run (default: max_workers of the config, at least 2)"
    )
    options = parser.parse_args(argv)
    config = load_config(SynthesisConfig, options.config, options.set)
    lines, same = compare(config, options.config, options.set, options.run_dir, options.workers or max(2, config.workers))
    print("\n".join(lines))  # noqa: T201 - the command's answer
    return 0 if same else 1


SUBCOMMANDS: dict[str, Callable[[Sequence[str]], int]] = {"trace": trace_command, "compare": compare_command}
