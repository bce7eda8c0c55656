"""The command `millrace`, which leads to the flows and to what is beside them.

millrace NAME …            python -m flows.NAME …, wherever Millrace is installed
millrace checkpoint verify PATH   here and now, without a flow: a run folder, --set and the rest are the flow's
millrace lake import …      pictures of your own as a lake
millrace measure -- COMMAND  a training command, alone and beside others
millrace rejudge RUN …      another judge on the answers of a finished run
millrace push RUN REPO       a finished run's dataset to a dataset repository; shows it unless told to send
millrace configs [NAME]    the shipped settings
millrace schema NAME       the JSON Schema of a flow's settings, for an editor
millrace trace RUN ITEM    where a question of a run came from, and what became of models that were trained on it
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import pkgutil
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from millrace.errors import MillraceError, UsageError


def main(argv: Sequence[str] | None = None) -> int:
    """The command `millrace`: `millrace NAME …` is `python -m flows.NAME …`, wherever Millrace is installed.

    Also `millrace configs [NAME]` (the shipped settings), `millrace schema NAME` (for editors) and `millrace trace RUN ITEM` (an
    item's lineage). Returns the exit code.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["checkpoint"]:
        from millrace.checkpoint.direct import command

        if command.is_light(given[1:]):
            return command.main(given[1:])
    package, names = flow_package()
    if given and given[0] in names:
        _run_flow(f"{package}.{given[0]}", given)
    options = command_parser(names).parse_args(given)
    if options.command == "lake":
        from millrace.lake.importing import command as import_command

        return import_command.run(options)
    if options.command == "rejudge":
        return _rejudge(package, options)
    if options.command == "push":
        return _push(options)
    if options.command == "measure":
        from millrace.training.measuring import measure_command

        _run_flow(f"{package}.training", ["training", *measure_command.flow_arguments(options)])
    if options.command == "configs":
        from millrace.config import shipped_configs

        flows = [options.flow] if options.flow else names
        lines = [f"millrace {flow} --config {name}" for flow in flows for name in shipped_configs(flow)]
        print("\n".join(lines))  # noqa: T201 - the command's answer
    elif options.command == "schema":
        with contextlib.suppress(SystemExit):
            _run_flow(f"{package}.{options.flow}", [options.flow, "schema"])
    elif options.command == "trace":
        if (options.run_dir / "trajectories.jsonl").exists() and "synthesis" in names:
            _run_flow(f"{package}.synthesis", ["synthesis", "trace", str(options.run_dir), options.item])
        return _trace(options.run_dir, options.item)
    return 0


def _rejudge(package: str, options: argparse.Namespace) -> int:
    from millrace.probing.asking_again import rejudge_command

    try:
        call = rejudge_command.flow_call(options)
    except MillraceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's message
        return error.exit_code
    _run_flow(f"{package}.{call.flow}", [call.flow, *call.arguments])
    return 0


def _push(options: argparse.Namespace) -> int:
    from millrace.publishing import push_command

    try:
        for line in push_command.run(options):
            print(line)  # noqa: T201 - the command's answer
    except MillraceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's message
        return error.exit_code
    return 0


def _trace(run_dir: Path, item: str) -> int:
    from millrace.reporting.item_lineage import trace

    try:
        print("\n".join(trace(run_dir, item)))  # noqa: T201 - the command's answer
    except MillraceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command's message
        return error.exit_code
    return 0


def _run_flow(module: str, given: Sequence[str]) -> None:
    """Run the flow's file as `python -m` does, which imports no Prefect before a run starts; ends with SystemExit.

    Plug-ins of the user's are found in the working folder, as `python -m` finds them; what is installed goes before it.
    """
    own, sys.argv = sys.argv, [f"millrace {given[0]}", *given[1:]]
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = own


def flow_package() -> tuple[str, list[str]]:
    """Where the flows are (`millrace.flows` once installed, `flows` in a checkout), and their names. Imports none of them.

    Raises:
        UsageError: there are none.
    """
    for package in ("millrace.flows", "flows"):
        with contextlib.suppress(ModuleNotFoundError):
            spec = importlib.util.find_spec(package)
            if spec is not None and spec.submodule_search_locations:
                return package, sorted(found.name for found in pkgutil.iter_modules(spec.submodule_search_locations))
    raise UsageError("no flows are installed beside the library")


def command_parser(flows: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of `millrace` itself; its subcommands are listed for `--help` and for completion."""
    import shtab

    from millrace.lake.importing import command as import_command
    from millrace.orchestration.flow_command import EXIT_CODES
    from millrace.probing.asking_again import rejudge_command
    from millrace.publishing import push_command
    from millrace.training.measuring import measure_command

    parser = argparse.ArgumentParser(prog="millrace", description=(__doc__ or "").split("\n\n")[0], epilog=EXIT_CODES)
    shtab.add_argument_to(parser, help="print a completion script for your shell and exit")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in flows:
        one = commands.add_parser(
            name, help=f"the flow `{name}`; `millrace {name} --help` explains every setting", add_help=False
        )
        one.add_argument("--config", metavar="FILE").complete = shtab.FILE  # type: ignore[attr-defined]
        one.add_argument("--run-dir", metavar="DIR").complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        one.add_argument("--set", metavar="KEY=VALUE")
        one.add_argument("--dry-run", action="store_true")
    again = commands.add_parser("rejudge", help="another judge on a finished run's answers", epilog=rejudge_command.EPILOG)
    rejudge_command.add_arguments(again)
    lake = commands.add_parser("lake", help="make a lake of pictures of your own")
    kinds = lake.add_subparsers(dest="work", required=True, metavar="COMMAND")
    imported = kinds.add_parser("import", help="from folders, archives and data sets", epilog=import_command.EPILOG)
    import_command.add_arguments(imported)
    measured = commands.add_parser("measure", help="time and energy of a training command", epilog=measure_command.EPILOG)
    measure_command.add_arguments(measured)
    pushed = commands.add_parser("push", help="a finished run's dataset to a dataset repository", epilog=push_command.EPILOG)
    push_command.add_arguments(pushed)
    listed = commands.add_parser("configs", help="list the shipped settings, which `--config` takes by name")
    listed.add_argument("flow", nargs="?", choices=flows)
    schema = commands.add_parser("schema", help="print the JSON Schema of a flow's settings, for an editor")
    schema.add_argument("flow", choices=flows)
    traced = commands.add_parser("trace", help="where an item, an outcome or an image of a run came from, and what became of it")
    traced.add_argument("run_dir", metavar="RUN", type=Path).complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    traced.add_argument("item", metavar="ITEM", help="the id of an item, a selection, an outcome or an image")
    return parser
