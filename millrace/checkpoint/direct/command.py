"""`millrace checkpoint verify PATH`: looks for damage in this process, without a flow, a run folder or anything of Prefect."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from millrace.errors import InputError, UsageError

DAMAGED, BAD_INPUT = 1, 2


def is_light(arguments: Sequence[str]) -> bool:
    """Whether `millrace checkpoint …` asks for what needs no flow: `verify`, one path, and none of the flow's options."""
    return len(arguments) == 2 and arguments[0] == "verify" and not arguments[1].startswith("-")


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify one checkpoint; returns the exit code.

    0: all is whole. 1: damage, each item on a line of its own. 2: PATH is no checkpoint.
    """
    parser = argparse.ArgumentParser(prog="millrace checkpoint", description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("action", choices=["verify"])
    parser.add_argument("path", type=Path, help="a torch.distributed.checkpoint folder or a safetensors folder")
    options = parser.parse_args(arguments)
    try:
        return _verify(options.path)
    except (InputError, UsageError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's answer
        return BAD_INPUT


def _verify(path: Path) -> int:
    from millrace.checkpoint.verify import parts_of, verify_file

    parts, problems = parts_of(path)
    reports = [verify_file(part) for part in parts]
    problems += [problem for report in reports for problem in report.problems]
    lines = [str(problem) for problem in problems]
    for report in reports:
        lines += [f"{report.name}, '{name}': not damage, and not looked into: {why}" for name, why in report.foreign.items()]
    unsummed = sum(report.unsummed for report in reports)
    if unsummed:
        lines.append(f"{unsummed} items have no sums of their own: only their structure was looked at (see `seal`)")
    items, nbytes = sum(report.items for report in reports), sum(report.bytes for report in reports)
    verdict = f"{len(problems)} problem{'s' * (len(problems) != 1)}" if problems else "whole"
    lines.append(f"{path}: {verdict}; {items} items, {nbytes / 1e6:.1f} MB in {len(parts)} files")
    print("\n".join(lines))  # noqa: T201 - the command's answer
    return DAMAGED if problems else 0
