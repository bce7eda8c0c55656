"""`millrace rejudge RUN`: a finished run's settings with another judge, as the arguments of the flow that made it."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import NamedTuple

import yaml

from millrace.errors import UsageError

CONFIG = "rejudge.yaml"
"""In the new run's folder: the earlier run's settings."""

SECTIONS = {"full": ("probing", "filtering", "qa"), "probing": ("probing",)}
"""Flow → the sections of its config that are taken over."""

EPILOG = (
    "Example: millrace rejudge runs/a --set 'probing.judge={name: endpoint, chats: [{model: judge, endpoints: [{base_url: "
    "http://127.0.0.1:8000/v1}]}]}'. The earlier run is only read; summary.json and the report say what became of its verdicts. "
    "exit codes: those of the flow"
)


class FlowCall(NamedTuple):
    """Which flow is run, with which arguments."""

    flow: str
    arguments: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run of full or probing")
    parser.add_argument("--run-dir", type=Path, metavar="DIR", help="the new run's folder (default: RUN-rejudged)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as of the flow: probing.judge=…"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be asked and what it costs, and do nothing")


def flow_call(options: argparse.Namespace) -> FlowCall:
    """The flow's call.

    Raises:
        UsageError: RUN is no run whose answers could be judged anew.
    """
    from millrace.probing.asking_again.another_judge import earlier_summary
    from millrace.run.journal import read_json

    run: Path = options.run
    summary = earlier_summary(run)
    done = read_json(run / "manifest.json").get("flows", {})
    flow = next((name for name in SECTIONS if name in done), None)
    if flow is None:
        raise UsageError(f"{run} was made by {', '.join(done) or 'nothing'}; answers are judged anew of full and probing")
    kept = read_json(run / "config.json")
    config = {name: kept[name] for name in SECTIONS[flow] if name in kept}
    config["probing"] = {**config["probing"], "answers_of": str(run.absolute())}
    config["probing"]["lake"] = {**config["probing"]["lake"], "path": str(summary.lake_folder)}
    if any(change.startswith(("probing.judge=", "probing.judge.name=")) for change in options.set):
        del config["probing"]["judge"]  # another kind of judge has settings of its own
    folder: Path = options.run_dir or run.with_name(f"{run.name}-rejudged")
    place = Path(tempfile.mkdtemp(prefix="rejudge-")) if options.dry_run else folder
    place.mkdir(parents=True, exist_ok=True)
    (place / CONFIG).write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8")
    arguments = ["--config", str(place / CONFIG), "--run-dir", str(folder)]
    for change in options.set:
        arguments += ["--set", change]
    return FlowCall(flow, [*arguments, *(["--dry-run"] if options.dry_run else [])])
