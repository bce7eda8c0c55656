"""`python -m flows.synthesis`: the flow's own command line, with `trace` and `compare` beside it."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from millrace import cli as command
from millrace.orchestration.clusters.cluster import check_cluster
from millrace.config import (load_config, read_mapping)
from millrace.orchestration.run_dir import dated
from millrace.synthesis.settings import (SynthesisConfig, warnings_about)
from millrace.synthesis.runs.estimate import plan_lines
from millrace.synthesis.runs.synthesis_run import reopen_for_new_seeds

SUBCOMMANDS = "\n\nsubcommands: trace RUN_DIR QA_ID (show and re-prove one item), compare (serial against parallel)"


def main(argv: Sequence[str], *, doc: str | None, sections: Callable[[Any], Mapping[str, BaseModel]]) -> int:
    """Run the flow, or one of its subcommands; returns the exit code."""
    argv = as_ours(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if argv and argv[0] == "trace":
        return command.guarded(lambda: _trace(argv[1:]))
    if argv and argv[0] == "compare":
        return command.guarded(lambda: _compare(argv[1:]))
    return command.main(
        "synthesis", SynthesisConfig, doc=(doc or "") + SUBCOMMANDS, sections=sections, plan=plan_lines,
        check=check, begin=begin, ahead="workers_cluster", argv=argv,
    )  # fmt: skip


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


def check(config: SynthesisConfig, run_dir: Path) -> None:
    """Raise what is wrong with the seeds, the environment or an endpoint before anything is started."""
    from millrace.synthesis.seeds import read_seeds
    from millrace.synthesis.toolset import open_environment

    check_cluster(config.cluster, run_dir)
    next(read_seeds(config.seeds_path, max_chars=config.max_seed_chars), None)
    open_environment(config).close()
    if config.policy == "chat":
        from millrace.llm.preflight import reach_all  # brings httpx: only where there is an endpoint
        from millrace.synthesis.policies.chat import judge_settings, model_settings

        judge = judge_settings(config)
        reach_all([model_settings(config), *([] if judge is None else [judge])])


def begin(config: SynthesisConfig, options: argparse.Namespace) -> None:
    """Say what the user should know about the config; take the end of a finished run back when there are new seeds."""
    raw = read_mapping(options.config) if options.config else {}
    for line in warnings_about(config, raw.get("available_tools")):
        print(f"synthesis: {line}", file=sys.stderr)  # noqa: T201 - said once, before the bar
    if not options.dry_run:
        reopen_for_new_seeds(config, dated(Path(options.run_dir or "runs/synthesis")))


def _trace(argv: Sequence[str]) -> int:
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


def _compare(argv: Sequence[str]) -> int:
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
    lines, same = compare(config, options.config, options.set, options.run_dir, options.workers or max(2, config.max_workers))
    print("\n".join(lines))  # noqa: T201 - the command's answer
    return 0 if same else 1
