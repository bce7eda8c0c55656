"""The house's rules that a reader of imports can check (what each room is for: README, map)."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOMAINS = {
    "probing",
    "filtering",
    "qa",
    "compare",
    "improve",
    "synthesis",
    "checkpoint",
    "training",
    "digits",
    "boxes",
    "chat_training",
    "lake",
    "llm",
}
MAY_IMPORT_DOMAINS = {
    "probing": {"lake", "llm"},
    "qa": {"lake", "llm"},
    "filtering": {"lake"},
    "compare": {"lake"},
    "improve": {"lake"},
    "synthesis": {"llm"},
    # the embedded world is a plug-in: it uses the contracts that a user's own would use
    "digits": {"lake", "llm", "probing", "qa", "improve"},
    "boxes": {"lake", "probing", "qa"},
    # a trainer that teaches a model what probing asks it
    "chat_training": {"improve", "llm", "probing"},
}
PLUG_INS = ("digits", "boxes", "chat_training")
"""Rooms that the product finds as it finds a user's own package."""
KNOWS_PREFECT = ("flows", "tasks", "deployments", "millrace/orchestration")
LARGEST_ROOM = 16
"""Files in one folder, `__init__.py` among them; past that a room gets inner rooms."""


def modules(*folders: str) -> list[Path]:
    return sorted(path for folder in folders or ("millrace", "tasks", "flows") for path in (ROOT / folder).rglob("*.py"))


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def domains_in(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("millrace.")} & DOMAINS


@pytest.mark.parametrize("domain", sorted(DOMAINS))
def test_domains_do_not_import_each_other(domain: str) -> None:
    for path in modules(f"millrace/{domain}"):
        others = domains_in(imports_of(path)) - {domain} - MAY_IMPORT_DOMAINS.get(domain, set())
        assert not others, f"{path.relative_to(ROOT)} imports {others}"


def test_nothing_in_the_product_names_a_plug_in_of_its_own_package() -> None:
    """Neither by an import nor by a dotted path in a string: what finds them is their entry point."""
    for path in modules("millrace"):
        if path.relative_to(ROOT / "millrace").parts[0] not in PLUG_INS:
            named = [name for name in PLUG_INS if f"millrace.{name}" in path.read_text()]
            assert not named, f"{path.relative_to(ROOT)} names {named}"


def test_no_part_of_the_library_is_kept_from_the_repository_by_gitignore() -> None:
    ignored = ["git", "ls-files", "--others", "--ignored", "--exclude-standard"]
    found = subprocess.run(
        [*ignored, "millrace", "flows", "tasks", "configs"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("not a git checkout")
    assert [name for name in found.stdout.splitlines() if "__pycache__" not in name] == []


def test_the_library_imports_neither_tasks_nor_flows() -> None:
    for path in modules("millrace"):
        assert not {name for name in imports_of(path) if name.split(".")[0] in {"flows", "tasks", "deployments"}}, path


def test_no_task_imports_a_flow() -> None:
    for path in modules("tasks"):
        assert not {name for name in imports_of(path) if name.split(".")[0] == "flows"}, path


def test_prefect_and_dask_are_known_only_to_flows_tasks_and_orchestration() -> None:
    for path in modules():
        if str(path.relative_to(ROOT)).startswith(KNOWS_PREFECT):
            continue
        known = {name.split(".")[0] for name in imports_of(path)} & {"prefect", "prefect_dask", "dask", "distributed"}
        assert not known, f"{path.relative_to(ROOT)} imports {known}"


def test_a_tasks_file_is_thin() -> None:
    for path in modules("tasks"):
        assert len(path.read_text().splitlines()) <= 70, f"{path.name}: what a task does belongs into millrace/"


def test_no_room_is_crowded() -> None:
    for folder in {path.parent for path in modules()}:
        assert len(list(folder.glob("*.py"))) <= LARGEST_ROOM, folder


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


def test_tests_have_the_rooms_of_the_library() -> None:
    beside = {"benchmarks", "deployments", "e2e", "fixtures", "gpu", "servers"}
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith(("_", "."))}
    assert [name for name in sorted(rooms - beside) if not (ROOT / "millrace" / name).is_dir()] == []
