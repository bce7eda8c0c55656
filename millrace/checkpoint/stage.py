"""The stages of `flows.checkpoint`, one for each action: read, verify, convert, compare."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, get_args

from msgspec import structs

from millrace.checkpoint.settings import Action, CheckpointConfig
from millrace.errors import InputError, RunFailed, UsageError
from millrace.records.checkpoint import ConvertSummary, ReadersSummary, ReadSummary, VerifySummary
from millrace.run.context import RunContext, Same
from millrace.run.journal import write_jsonl
from millrace.run.stage import Forecast, Stage


@dataclass(frozen=True)
class CheckpointStage(Stage):
    """What the actions share: the checkpoint at `config.path`."""

    config: CheckpointConfig

    on_cluster = False
    single_file: ClassVar[bool] = False
    """Whether it takes a single safetensors file too."""

    @property
    def section(self) -> str:
        """One for all actions."""
        return "checkpoint"

    @property
    def path(self) -> Path:
        """The checkpoint; `check` saw to it that there is one."""
        assert self.config.path is not None
        return self.config.path

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        return [f"{self.name}: {self.config.path or 'no checkpoint named yet'}"]

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`."""
        path = self.config.path
        if path is None:
            raise UsageError("name the checkpoint: python -m flows.checkpoint read|verify|convert|compare PATH")
        if not self._answer(path.exists, path):
            raise InputError(f"there is no checkpoint at {path}")
        if path.is_file() and not (self.name == "convert" or (self.single_file and path.suffix == ".safetensors")):
            raise UsageError(f"{path} is a file; only convert takes one, the others want a checkpoint's folder")

    def _answer(self, question: Callable[[], bool], path: Path) -> bool:
        """What the file system says, if it says anything."""
        from millrace.checkpoint.engine.stalls import StalledRead, Watch

        watch = Watch(self.config.stall_s)

        def ask() -> bool:
            with watch.calling(path.name):
                return question()

        try:
            return watch.wait_for(ask)
        except StalledRead as stalled:
            raise InputError(f"{path}: {stalled}") from stalled


class Read(CheckpointStage):
    """Loads everything once and says how fast."""

    name = "read"
    summary_type = ReadSummary
    single_file = True

    def run(self, run: RunContext, folder: Path) -> ReadSummary:
        """See `Stage.run`."""
        from millrace.checkpoint.compare import read_checkpoint

        with run.progress.stage("reading", 0, "bytes") as bar:
            config = self.config
            metrics = run.call(
                read_checkpoint,
                self.path,
                threads=config.threads,
                check=config.check,
                stall_s=config.stall_s,
                on_progress=bar.update,
            )
            bar.note = f"{metrics.gigabytes_per_second:.2f} GB/s"
        run.progress.say(metrics.line())
        return ReadSummary(**asdict(metrics), gb_per_s=round(metrics.gigabytes_per_second, 3))


class Verify(CheckpointStage):
    """Looks for damage, a task per file; everything found goes to `problems.jsonl`."""

    name = "verify"
    summary_type = VerifySummary
    on_cluster = True
    single_file = True

    def run(self, run: RunContext, folder: Path) -> VerifySummary:
        """See `Stage.run`.

        Raises:
            RunFailed: there is damage. InputError: this is no checkpoint at all.
        """
        from millrace.checkpoint.problems import CheckpointError
        from millrace.checkpoint.verify import parts_of, seal_checkpoint, verify_part

        place = self.path.absolute()
        try:
            parts, problems = parts_of(place, self.config.stall_s)
        except CheckpointError as error:
            if not (place / ".metadata").exists():
                raise
            write_jsonl(folder / "problems.jsonl", error.problems)
            raise RunFailed(str(error)) from error
        with run.progress.stage("verifying", sum(len(part.items) for part in parts), "items") as bar:
            reports = run.map(verify_part, parts, Same(self.config), on_done=lambda report: bar.advance(report.items))
        problems = problems + [problem for report in reports for problem in report.problems]
        write_jsonl(folder / "problems.jsonl", problems)
        if problems:
            raise RunFailed(str(CheckpointError(str(place), problems)))
        foreign = {name: why for report in reports for name, why in report.foreign.items()}
        if foreign:
            run.progress.say(f"not looked into: they need classes outside allow_globals (or byte_items=trusted): {foreign}")
        sealed = str(seal_checkpoint(place, reports)) if self.config.seal else None
        counts = {name: sum(getattr(report, name) for report in reports) for name in ("items", "bytes", "unsummed")}
        run.progress.say(f"{place}: {counts['items']} items in {len(parts)} files are whole")
        return VerifySummary(files=len(parts), **counts, foreign=foreign, seal=sealed)


class Convert(CheckpointStage):
    """Writes the checkpoint in another format."""

    name = "convert"
    summary_type = ConvertSummary

    def plan(self, run_dir: Path, forecast: Forecast) -> list[str]:
        """See `Stage.plan`."""
        convert = self.config.convert
        return [*super().plan(run_dir, forecast), f"to: {convert.to or 'nowhere yet'} as {convert.format}"]

    def check(self, run_dir: Path, earlier: list[str]) -> None:
        """See `Stage.check`."""
        super().check(run_dir, earlier)
        target = self.config.convert.to
        if target is None:
            raise UsageError("convert needs a destination: --set convert.to=PATH")
        if target.exists():
            raise UsageError(f"{target} exists already; choose another --set convert.to=PATH")

    def run(self, run: RunContext, folder: Path) -> ConvertSummary:
        """See `Stage.run`."""
        from millrace.checkpoint.convert import convert_checkpoint
        from millrace.checkpoint.formats.allowed_classes import classes_named

        config = self.config
        with run.progress.stage("converting", 0, "bytes") as bar:
            done = run.call(
                convert_checkpoint,
                self.path,
                config.convert,
                threads=config.threads,
                byte_items=config.byte_items,
                allow=classes_named(config.allow_globals),
                stall_s=config.stall_s,
                on_progress=bar.update,
            )
        left_out = f", without {', '.join(done.dropped)}" if done.dropped else ""
        size = f"{done.tensors} tensors, {done.bytes / 1e6:.1f} MB in {done.files} files"
        run.progress.say(f"{config.convert.to}: {size}{left_out}")
        return ConvertSummary(**structs.asdict(done), to=str(config.convert.to))


class Compare(CheckpointStage):
    """Times the readers side by side."""

    name = "compare"
    summary_type = ReadersSummary

    def run(self, run: RunContext, folder: Path) -> ReadersSummary:
        """See `Stage.run`."""
        from millrace.checkpoint.compare import compare_readers, table

        config = self.config
        with run.progress.stage("comparing", 0, "turns") as bar:
            rows = run.call(compare_readers, self.path, threads=config.threads, repeats=config.repeats, on_turn=bar.advance)
        for line in table(rows):
            run.progress.say(line)
        return ReadersSummary(readers=rows)


ACTIONS: dict[str, type[CheckpointStage]] = {stage.name: stage for stage in (Read, Verify, Convert, Compare)}


def flow_arguments(given: Sequence[str]) -> list[str]:
    """`verify PATH --set seal=true` as the options that every flow has.

    Action and path become settings, settings of `checkpoint` need no prefix, and each run gets a folder of its own.
    """
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
