"""The one command line of every flow.

`python -m flows.NAME [--config FILE.yaml] [--run-dir DIR] [--set dotted.key=value ...] [--dry-run]`

Exit codes: 0 done, 1 failed, 2 bad usage, config or input (nothing was started), 3 finished short of its target, 130 / 143
interrupted by SIGINT / SIGTERM (everything finished is on disk, nothing is left running). Nothing heavy is imported before a
run really starts: `--help`, `--dry-run`, a wrong config and a finished folder answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from pydantic import BaseModel

from millrace.config import load_config
from millrace.errors import Interrupted, MillraceError
from millrace.orchestration.clusters.cluster import ClusterSettings
from millrace.orchestration.run_dir import dated
from millrace.run.folder import RunFolder, finished_state

EXIT_CODES = "exit codes: 0 done, 1 failed, 2 bad usage or config, 3 finished short of its target, 130/143 interrupted"


FULL_DISK_BYTES = 1 << 20
"""Less room than this in the run folder is a full disk: SQLite, which holds a local API's state, stops before the last byte."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised in the main thread so that every `finally` runs."""


def main(
    name: str,
    model: type[BaseModel],
    *,
    doc: str,
    sections: Callable[[Any], Mapping[str, BaseModel]],
    plan: Callable[[Any, Path], Sequence[str]],
    check: Callable[[Any, Path], object] = lambda config, run_dir: None,
    begin: Callable[[Any, argparse.Namespace], object] = lambda config, options: None,
    ahead: str = "",
    argv: Sequence[str] | None = None,
) -> int:
    """Run the flow `flows.NAME.NAME(config=…, run_dir=…)` from the command line and return the exit code.

    Args:
        name: the flow's name; its module is imported only when a run starts.
        model: the flow's config.
        doc: what `--help` says first.
        sections: the configs, by flow name, that a run of this flow stands for in its run folder.
        plan: the lines that `--dry-run` prints; touches nothing.
        check: raises what is wrong with config or input before anything is started.
        begin: what a flow has to say or see to before the run folder is looked at; gets the config and the parsed options.
        ahead: for a flow that begins by mapping shards: the field of its config with the cluster that its session asks for.
            A local one is started beside the API.
        argv: the arguments; None takes those of the process.
    """
    parser = argument_parser(name, model, doc)
    options = parser.parse_args(argv)

    def work() -> int:
        config = load_config(model, options.config, options.set)
        run_dir = dated(Path(options.run_dir or f"runs/{name}"))
        begin(config, options)
        if options.dry_run:
            print("\n".join(plan(config, run_dir)))  # noqa: T201 - the command's answer
            return 0
        state = finished_state(run_dir, name, sections(config))
        if state:
            said = "is finished" if state == "finished" else "is finished, short of its target"
            print(f"{run_dir} {said}; choose another --run-dir for a new run")  # noqa: T201
            return 0 if state == "finished" else 3
        check(config, run_dir)
        return start(name, config, run_dir, sections(config), ahead=getattr(config, ahead) if ahead else None)

    return guarded(work)


def argument_parser(name: str, model: type[BaseModel], doc: str) -> argparse.ArgumentParser:
    """The options that every flow has, with the config's fields listed under them."""
    parser = argparse.ArgumentParser(
        prog=f"python -m flows.{name}",
        description=doc,
        epilog=f"settings (for --config and --set):\n{settings_help(model)}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"YAML settings; examples: configs/{name}/")
    parser.add_argument("--run-dir", metavar="DIR", help=f"the run's folder, new or to be resumed (default: runs/{name})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, dotted; may be repeated")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and touch nothing")
    return parser


def settings_help(model: type[BaseModel], prefix: str = "") -> str:
    """The config's fields, one line each: dotted name, default, the string under the field."""
    lines = []
    for key, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            lines.append(settings_help(inner, f"{prefix}{key}."))
            continue
        default = "" if field.is_required() else f" = {field.get_default(call_default_factory=True)}"
        first = (field.description or "").strip().split("\n")[0]
        lines.append(f"  {prefix}{key}{default}\n      {first}")
    return "\n".join(lines).replace("%", "%%")


def start(
    name: str, config: BaseModel, run_dir: Path, sections: Mapping[str, BaseModel], *, ahead: ClusterSettings | None = None
) -> int:
    """Take the run folder, see that there is a Prefect API, import the flow and run it."""
    with RunFolder.open(run_dir, sections) as folder:
        from millrace.orchestration import cancellation, local_api
        from millrace.orchestration.clusters.cluster import own_address, started_ahead
        from millrace.orchestration.flow_log import log_to_file

        with (
            local_api.prefect_api(folder.logs, own_address(getattr(config, "cluster", None))) as ready,
            started_ahead(ahead) if ahead else contextlib.nullcontext(),
        ):
            module = importlib.import_module(f"flows.{name}")
            log_to_file(folder.logs / "flow.log")
            # run by `-m`, the flow's file was `__main__` until now; Prefect and Dask must meet its classes by their real names
            config = getattr(module, type(config).__name__).model_validate(config.model_dump())
            with ready():
                try:
                    with cancellation.called_by_hand():
                        summary = getattr(module, name)(config=config, run_dir=folder.path)
                except Exception as error:
                    if shutil.disk_usage(folder.path).free < FULL_DISK_BYTES:  # whatever broke first: the API's database …
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder.path)) from error
                    raise
                finally:
                    local_api.drain()
    return 3 if summary.get("status") == "short" else 0


def guarded(work: Callable[[], int]) -> int:
    """Run `work`, turning what it raises into one sentence and an exit code.

    SIGTERM is raised as an exception in the main thread, so that a polite stop cleans up like Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return work()
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
