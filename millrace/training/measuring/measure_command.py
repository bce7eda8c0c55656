"""`millrace measure -- COMMAND`: the flow `training` with its setting `measure`."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path

EPILOG = (
    "Example: millrace measure --beside 'python other.py' -- python train.py --lr 0.1. The command runs here, in this folder, "
    "as you would start it: once for a short look at what it prints, then measured. `{out}` in a command is a new folder "
    "for each run. exit codes: those of the flow"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--beside", action="append", default=[], metavar="COMMAND", help="what runs beside it; may be repeated")
    parser.add_argument("--runs", type=int, metavar="N", help="how often it is measured (default: 1)")
    parser.add_argument("--look-s", type=float, metavar="SECONDS", help="the longest look at what it prints (default: 120)")
    parser.add_argument("--epoch", metavar="PATTERN", help="the line that ends an epoch; without it, it is found by looking")
    parser.add_argument("--metric", action="append", default=[], metavar="NAME=PATTERN", help="a metric; may be repeated")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="the run's folder, as of the flow")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as of the flow")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    parser.add_argument("program", nargs="+", metavar="COMMAND", help="the training command, after --")


def flow_arguments(options: argparse.Namespace) -> list[str]:
    """The flow's arguments."""
    metrics = dict(text.partition("=")[::2] for text in options.metric)
    settings = {
        "command": shlex.join(options.program),
        "beside": options.beside or None,
        "cwd": str(Path.cwd()),
        "runs": options.runs,
        "look_s": options.look_s,
        "epoch": options.epoch,
        "metrics": metrics or None,
    }
    arguments = [f"measure.{key}={json.dumps(value)}" for key, value in settings.items() if value is not None]
    made = [part for one in [*arguments, *options.set] for part in ("--set", one)]
    if options.run_dir is not None:
        made += ["--run-dir", str(options.run_dir)]
    return [*made, "--dry-run"] if options.dry_run else made
