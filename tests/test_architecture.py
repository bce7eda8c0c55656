"""The house's rules that a reader of imports can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOMAINS = {"probing", "filtering", "qa", "synthesis", "checkpoint", "training"}
SHELL = {"cancellation", "cluster", "progress", "report", "local_api", "session", "flow_log", "run_dir"}


def modules() -> list[Path]:
    return sorted(path for folder in ("tasks", "flows") for path in (ROOT / folder).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_domains_do_not_import_each_other() -> None:
    for path in modules():
        parts = path.relative_to(ROOT).parts
        if parts[0] != "tasks" or parts[1] not in DOMAINS:
            continue
        others = DOMAINS - {parts[1]}
        crossing = {name for name in imports_of(path) if name.split(".")[0] == "tasks" and name.split(".")[1:2][0:1] != []}
        crossing = {name for name in crossing if name.split(".")[1] in others}
        assert not crossing, f"{path} imports {crossing}"


def test_no_task_imports_a_flow() -> None:
    for path in modules():
        if path.relative_to(ROOT).parts[0] == "tasks":
            assert not {name for name in imports_of(path) if name.split(".")[0] == "flows"}, path


def test_prefect_is_known_only_to_the_shell() -> None:
    for path in modules():
        parts = path.relative_to(ROOT).parts
        if parts[0] == "flows" or path.name == "steps.py" or (len(parts) == 2 and path.stem in SHELL):
            continue
        assert not {name for name in imports_of(path) if name.split(".")[0] in {"prefect", "prefect_dask"}}, path


def test_no_file_is_named_for_nothing_it_holds() -> None:
    for path in modules():
        assert path.stem not in {"utils", "common", "helpers", "misc", "base"}, path


@pytest.mark.parametrize("flow", sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__"))
def test_help_imports_neither_prefect_nor_torch(flow: str) -> None:
    program = (
        "import runpy, sys\nsys.argv = ['x', '--help']\n"
        f"try:\n    runpy.run_module('flows.{flow}', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code in (0, None), end.code\n"
        "heavy = {'prefect', 'torch', 'distributed', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert "--dry-run" in done.stdout
