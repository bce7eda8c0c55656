"""Checkpoints: read fast, verified, converted, compared.

    python -m flows.checkpoint read|verify|convert|compare PATH [--set convert.to=PATH --set convert.format=dcp ...]

PATH is a torch.distributed.checkpoint folder, a safetensors folder, or for convert also a torch.save file. Every run gets a run
folder of its own under runs/checkpoint unless --run-dir names one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from millrace.checkpoint.settings import Action, CheckpointConfig
from millrace.config import Settings
from millrace.orchestration.clusters.cluster import ClusterSettings, cluster_field

SINGLE_FILE = ("read", "verify")
"""What can be done with a single safetensors file beside `convert`."""


class CheckpointFlowConfig(Settings):
    """What is done with which checkpoint, and where."""

    checkpoint: CheckpointConfig = CheckpointConfig()
    """The work."""
    cluster: ClusterSettings = cluster_field()
    """Where files are verified."""


def sections(config: CheckpointFlowConfig) -> Mapping[str, BaseModel]:
    """The parts of a run folder that this flow answers for."""
    return {"checkpoint": config.checkpoint}


def plan(config: CheckpointFlowConfig, run_dir: Path) -> list[str]:
    """What `--dry-run` prints."""
    work = config.checkpoint
    lines = [f"run folder: {run_dir}", f"{work.action}: {work.path or 'no checkpoint named yet'}"]
    if work.action == "convert":
        lines.append(f"to: {work.convert.to or 'nowhere yet'} as {work.convert.format}")
    return lines


def check(config: CheckpointFlowConfig, run_dir: Path) -> None:
    """Raises what is wrong with the config or the input."""
    from millrace.errors import InputError, UsageError

    path, target = config.checkpoint.path, config.checkpoint.convert.to
    if path is None:
        raise UsageError("name the checkpoint: python -m flows.checkpoint read|verify|convert|compare PATH")
    if not path.exists():
        raise InputError(f"there is no checkpoint at {path}")
    if path.is_file() and config.checkpoint.action not in ("convert", *(SINGLE_FILE if path.suffix == ".safetensors" else ())):
        raise UsageError(f"{path} is a file; only convert takes one, the others want a checkpoint's folder")
    if config.checkpoint.action == "convert" and target is None:
        raise UsageError("convert needs a destination: --set convert.to=PATH")
    if config.checkpoint.action == "convert" and target is not None and target.exists():
        raise UsageError(f"{target} exists already; choose another --set convert.to=PATH")


def arguments(given: Sequence[str]) -> list[str]:
    """`verify PATH --set seal=true` as the options that every flow has."""
    rest = list(given)
    settings: dict[str, str] = {}
    if rest and rest[0] in get_args(Action):
        settings["action"] = rest.pop(0)
        if rest and not rest[0].startswith("-"):
            settings["path"] = rest.pop(0)
    for position, one in enumerate(rest):
        inside = one.split("=")[0].split(".")[0] in CheckpointConfig.model_fields
        if position and rest[position - 1] == "--set" and inside:
            rest[position] = f"checkpoint.{one}"
    for key, value in settings.items():
        rest += ["--set", f"checkpoint.{key}={json.dumps(value)}"]
    if settings and not any(one == "--run-dir" or one.startswith("--run-dir=") for one in rest):
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f")
        rest += ["--run-dir", f"runs/checkpoint/{settings['action']}-{stamp}"]
    return rest


if __name__ == "__main__":
    from millrace.cli import main

    options = arguments(sys.argv[1:])
    sys.exit(main("checkpoint", CheckpointFlowConfig, doc=__doc__, sections=sections, plan=plan, check=check, argv=options))

from dataclasses import asdict

from prefect import flow, unmapped

from millrace.checkpoint.compare import table
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.verify import parts_of, seal_checkpoint
from millrace.errors import RunFailed
from millrace.orchestration.run_dir import RunDir
from millrace.orchestration.session import Session, open_session
from millrace.run.journal import write_jsonl
from tasks import checkpoint as steps


@flow(name="checkpoint", flow_run_name="checkpoint in {run_dir}")
def checkpoint(
    config: CheckpointFlowConfig = CheckpointFlowConfig(), run_dir: RunDir = Path("runs/checkpoint")
) -> dict[str, Any]:
    """Read, verify, convert or compare a checkpoint.

    Args:
        config: the settings.
        run_dir: the run's folder: new, or one to be taken up again.
    """
    check(config, run_dir)
    actions = {"read": read, "verify": verify, "convert": convert, "compare": compare}
    with open_session("checkpoint", sections(config), run_dir, config.cluster) as run:
        summary = actions[config.checkpoint.action](run, config.checkpoint)
        run.folder.finish("checkpoint", "finished")
        return {"status": "finished", **summary}


def named(config: CheckpointConfig) -> Path:
    """The checkpoint; `check` saw to it that there is one."""
    assert config.path is not None
    return config.path


def read(run: Session, config: CheckpointConfig) -> dict[str, Any]:
    """Load everything once and say how fast."""

    def work(folder: Path) -> dict[str, Any]:
        with run.progress.stage("reading", 0, "bytes") as stage, run.timeline.work("read"):
            metrics = steps.read_checkpoint(named(config), config, stage.update)
            stage.note = f"{metrics.gigabytes_per_second:.2f} GB/s"
        run.progress.say(metrics.line())
        return {**asdict(metrics), "gb_per_s": round(metrics.gigabytes_per_second, 3)}

    return run.stage("read", work, on_cluster=False)


def verify(run: Session, config: CheckpointConfig) -> dict[str, Any]:
    """Look for damage, a task per file; everything found goes to `problems.jsonl`.

    Raises:
        RunFailed: there is damage. InputError: this is no checkpoint at all.
    """
    place = named(config).absolute()

    def work(folder: Path) -> dict[str, Any]:
        try:
            parts, problems = parts_of(place)
        except CheckpointError as error:
            if not (place / ".metadata").exists():
                raise
            write_jsonl(folder / "problems.jsonl", [asdict(problem) for problem in error.problems])
            raise RunFailed(str(error)) from error
        with run.progress.stage("verifying", sum(len(part.items) for part in parts), "items") as stage:
            checks = steps.verify_file.map(parts, unmapped(config))
            reports = run.gather("verify", checks, lambda report: stage.advance(report.items))
        problems = problems + [problem for report in reports for problem in report.problems]
        write_jsonl(folder / "problems.jsonl", [asdict(problem) for problem in problems])
        if problems:
            raise RunFailed(str(CheckpointError(str(place), problems)))
        foreign = {name: why for report in reports for name, why in report.foreign.items()}
        if foreign:
            run.progress.say(f"not looked into, as they ask for classes nobody allowed (byte_items, allow_globals): {foreign}")
        sealed = str(seal_checkpoint(place, reports)) if config.seal else None
        counts = {name: sum(getattr(report, name) for report in reports) for name in ("items", "bytes", "unsummed")}
        run.progress.say(f"{place}: {counts['items']} items in {len(parts)} files are whole")
        return {"files": len(parts), **counts, "foreign": foreign, "seal": sealed}

    return run.stage("verify", work)


def convert(run: Session, config: CheckpointConfig) -> dict[str, Any]:
    """Write the checkpoint in another format."""

    def work(folder: Path) -> dict[str, Any]:
        with run.progress.stage("converting", 0, "bytes") as stage, run.timeline.work("convert"):
            done = steps.convert_checkpoint(named(config), config, stage.update)
        left_out = f", without {', '.join(done.dropped)}" if done.dropped else ""
        run.progress.say(
            f"{config.convert.to}: {done.tensors} tensors, {done.bytes / 1e6:.1f} MB in {done.files} files{left_out}"
        )
        return {**asdict(done), "to": str(config.convert.to)}

    return run.stage("convert", work, on_cluster=False)


def compare(run: Session, config: CheckpointConfig) -> dict[str, Any]:
    """Time the readers side by side."""

    def work(folder: Path) -> dict[str, Any]:
        with run.progress.stage("comparing", 0, "turns") as stage, run.timeline.work("compare"):
            rows = steps.compare_readers(named(config), config, stage.advance)
        for line in table(rows):
            run.progress.say(line)
        return {"readers": rows}

    return run.stage("compare", work, on_cluster=False)
