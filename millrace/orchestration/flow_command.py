"""The one command line of every flow.

    python -m flows.NAME [--config FILE.yaml] [--run-dir DIR] [--set dotted.key=value ...] [--dry-run]
    python -m flows.NAME schema        # the JSON Schema of its settings, for an editor

Exit codes: 0 done, 1 failed, 2 bad usage, config or input (nothing was started), 3 finished short of its target, 130 / 143
interrupted by SIGINT / SIGTERM (everything finished is on disk, nothing is left running). Nothing heavy is imported before a
run really starts: `--help`, `--dry-run`, a wrong config and a finished folder answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib.util
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel

from millrace.config import find_config, load_config, read_mapping, schema_text
from millrace.errors import Interrupted, MillraceError, UsageError
from millrace.imports import uncollected
from millrace.orchestration.run_dir import dated
from millrace.orchestration.server_watch import ServerLost, leave
from millrace.run.folder import RunFolder, finished_state

if TYPE_CHECKING:
    from millrace.orchestration.flow import Definition

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 bad usage or config, 3 finished short of its target, 130/143 interrupted"

FULL_DISK_BYTES = 1 << 20
"""Less room than this in the run folder is a full disk: SQLite, which holds a local API's state, stops before the last byte."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised in the main thread so that every `finally` runs."""


class FlowCommand:
    """The command line of one flow: what `flow` makes of the function in the file that is run as `__main__`."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition

    def main(self, argv: Sequence[str] | None = None) -> None:
        """Answer the command line and end the process with its exit code. `argv` None takes the process's arguments."""
        sys.exit(self.answer(sys.argv[1:] if argv is None else argv))

    def answer(self, argv: Sequence[str]) -> int:
        """Answer the arguments; returns the exit code."""
        if list(argv) == ["schema"]:
            print(schema_text(self.definition.config))  # noqa: T201 - the command's answer
            return 0
        if argv and argv[0] in self.definition.subcommands:
            return guarded(lambda: self.definition.subcommands[argv[0]](argv[1:]))
        options = argument_parser(self.definition).parse_args(list(self.definition.arguments(argv)))
        return guarded(lambda: self._run(options))

    def _run(self, options: argparse.Namespace) -> int:
        flow = self.definition
        path = find_config(flow.name, options.config) if options.config else None
        config = load_config(flow.config, path, options.set)
        run_dir = dated(Path(options.run_dir or f"runs/{flow.name}"))
        raw = read_mapping(path) if path else {}
        for line in (line for stage in flow.stages(config) for line in stage.notes(raw)):
            print(f"{flow.name}: {line}", file=sys.stderr)  # noqa: T201 - once, before the bar
        if options.dry_run:
            print("\n".join(flow.plan(config, run_dir)))  # noqa: T201 - the command's answer
            return 0
        flow.take_up(config, run_dir)
        state = finished_state(run_dir, flow.name, flow.sections(config))
        if state:
            end = "is finished" if state == "finished" else "is finished, short of its target"
            print(f"{run_dir} {end}; choose another --run-dir for a new run")  # noqa: T201
            return 0 if state == "finished" else 3
        flow.check(config, run_dir)
        return start(flow, config, run_dir)


def argument_parser(definition: Definition) -> argparse.ArgumentParser:
    """The options that every flow has, with the config's fields listed under them."""
    name = definition.name
    parser = argparse.ArgumentParser(
        prog=sys.argv[0] if sys.argv[0].startswith("millrace ") else f"python -m flows.{name}",
        description=definition.doc,
        epilog=f"settings (for --config and --set):\n{settings_help(definition.config)}\n\n{EXIT_CODES}".replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"YAML settings: a file, or a name in configs/{name}/")
    parser.add_argument("--run-dir", metavar="DIR", help=f"the run's folder, new or to be resumed (default: runs/{name})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, dotted; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and touch nothing")
    return parser


def settings_help(model: type[BaseModel], prefix: str = "") -> str:
    """The config's fields, a line each: dotted name, default, the string under the field. Lists and mappings of settings are
    followed too: `experiments[].repeats`, `external{}.command`."""
    lines = []
    for key, field in model.model_fields.items():
        inner, brackets = _settings_in(field.annotation)
        first = (field.description or "").strip().split("\n")[0]
        if inner is None or brackets:
            default = "" if field.is_required() else f" = {field.get_default(call_default_factory=True)}"
            lines.append(f"  {prefix}{key}{default}\n      {first}")
        if inner is not None:
            lines.append(settings_help(inner, f"{prefix}{key}{brackets}."))
    return "\n".join(lines)


def _settings_in(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """The settings class that a field's type holds, and how: "" itself, "[]" in a list, "{}" in a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    container: Any = get_origin(annotation)
    brackets = {list: "[]", tuple: "[]", dict: "{}"}.get(container, "")
    for part in get_args(annotation):
        inner, more = _settings_in(part)
        if inner is not None:
            return inner, brackets + more
    return None, ""


def start(definition: Definition, config: BaseModel, run_dir: Path) -> int:
    """Take the run folder, see that there is a Prefect API, and run the flow; returns the exit code.

    Raises:
        UsageError: Prefect or Dask is not installed.
    """
    if not definition.needs_prefect(config):
        return _start_here(definition, config, run_dir)
    missing = [name for name in ("prefect", "prefect_dask", "distributed") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"a flow needs {', '.join(missing)}: pip install 'millrace[all]'")
    with RunFolder.open(run_dir, definition.sections(config)) as folder:
        from millrace.orchestration import cancellation, local_api
        from millrace.orchestration.clusters.cluster import own_address, start_ahead
        from millrace.orchestration.flow_log import log_to_file

        cluster = definition.cluster(config)
        with contextlib.ExitStack() as stack:
            ready = stack.enter_context(local_api.prefect_api(folder.logs, own_address(cluster)))
            stages = definition.stages(config)
            begun = start_ahead(cluster, definition.task_modules(config)) if cluster and stages[0].on_cluster else None
            if begun is not None:
                stack.callback(begun.close)
            with uncollected():
                from millrace.orchestration import prefect_run  # noqa: F401 - while the server starts
                from millrace.orchestration.flow import prefect_flow

                flow = prefect_flow(definition, folder, begun)
                log_to_file(folder.logs / "flow.log")
            lost = partial(_without_server, folder, definition.name)
            with _full_disk_named(folder.path), _failed_start_noted(folder, definition.name), ready(lost) as watch:
                try:
                    with cancellation.called_by_hand():
                        summary = flow(config=config, run_dir=folder.path)
                finally:
                    if watch is None or not watch.lost:
                        local_api.drain()
    return 3 if summary.get("status") == "short" else 0


def _start_here(definition: Definition, config: BaseModel, run_dir: Path) -> int:
    """The same without Prefect and Dask: nothing of them is imported."""
    from millrace.orchestration.flow_log import log_to_file

    with RunFolder.open(run_dir, definition.sections(config)) as folder, _full_disk_named(folder.path):
        folder.logs.mkdir(parents=True, exist_ok=True)
        log_to_file(folder.logs / "flow.log", prefect=False)
        summary = definition.run_here(config, folder)
    return 3 if summary.get("status") == "short" else 0


@contextlib.contextmanager
def _failed_start_noted(folder: RunFolder, flow: str) -> Iterator[None]:
    """What ends the block before a flow run could write it down is in the folder too."""
    try:
        yield
    except MillraceError as error:
        if folder.state_of(flow) == "running":
            folder.finish(flow, "failed", error=str(error))
        raise


def _without_server(folder: RunFolder, flow: str, why: str) -> ServerLost:
    """How the run stands by its folder, when its own Prefect server is gone."""
    state = folder.state_of(flow)
    if state in ("finished", "short"):
        return ServerLost(f"{why} when the run was over; nothing is missing from {folder.path}", 3 if state == "short" else 0)
    if shutil.disk_usage(folder.path).free < FULL_DISK_BYTES:
        return ServerLost(f"the disk is full ({folder.path}); make room and run the same command again")
    folder.finish(flow, "failed", error=why)
    return ServerLost(f"{why}; what was finished is in {folder.path}, run the same command again to go on")


@contextlib.contextmanager
def _full_disk_named(folder: Path) -> Iterator[None]:
    """When the disk is full, say so, whatever broke first (the API's database, a log)."""
    try:
        yield
    except Exception as error:
        if shutil.disk_usage(folder).free < FULL_DISK_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def guarded(work: Callable[[], int]) -> int:
    """Run `work`, turning what it raises into one sentence and an exit code.

    SIGTERM is raised as an exception in the main thread, so that it cleans up like Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return work()
    except ServerLost as lost:
        leave(lost)
        return lost.code
    except Terminated:
        return _say("stopped by SIGTERM; run the same command again to go on", 143)
    except (KeyboardInterrupt, Interrupted):
        return _say("interrupted; run the same command again to go on", 130)
    except MillraceError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - the reader is gone; say nothing more
        return 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _say(f"the disk is full ({error.filename or 'no file named'}); make room and run the same command again", 1)
        if error.errno in (errno.EROFS, errno.EACCES):
            return _say(f"{error.filename} cannot be written: {error.strerror}", 2)
        traceback.print_exc()
        return 1
    except Exception:  # noqa: BLE001 - the last stop: our own mistake, shown whole
        traceback.print_exc()
        return _say("this is a defect of Millrace; the run can be taken up again with the same command", 1)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _say(message: str, code: int) -> int:
    print(f"millrace: {message}", file=sys.stderr)  # noqa: T201 - the command's answer
    return code
