"""What the README and docs/ say can be followed: links lead somewhere, commands are understood, settings exist."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import millrace
from tests.e2e.commands import module_answer

ROOT = Path(__file__).resolve().parents[1]
TOP = [ROOT / f"{name}.md" for name in ("README", "README.zh", "CONTRIBUTING", "SECURITY")]
PAGES = sorted([*TOP, *(ROOT / "docs").rglob("*.md"), ROOT / "configs" / "README.md"])
ROOMS = ("flows", "tasks", "millrace", "deployments", "configs", "docker", "docs", "examples", "tests")
README_LINES = 150


def commands() -> list[str]:
    """Every `python -m flows…` and `python -m deployments…` in a code block or in backticks, continued lines joined."""
    found: set[str] = set()
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"python -m (?:flows|deployments)\.[^`\n]+", text):
            found.add(" ".join(re.split(r"\s+#\s|\s{2,}\(|\s+…", line)[0].split()))
    return sorted(command for command in found if "NAME" not in command and "|" not in command and "PATH" not in command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("command", commands())
def test_every_command_in_the_pages_is_understood(command: str, tmp_path: Path, cache: Path) -> None:
    _, _, module, *rest = shlex.split(command)
    if module == "deployments.register":  # has no options: it would talk to a server
        assert find_spec(module)
        return
    if not module.startswith("flows.") or (rest and not rest[0].startswith("-")):
        rest = ["--help"]
    else:
        rest = [*(word for word in rest if word != "--dry-run"), "--dry-run"]
    if module in {"flows.full", "flows.probing"} and "--dry-run" in rest:
        rest += ["--set", "probing.lake.path=null"]  # a page or a config may name images that are only an example
    if module in {"flows.filtering", "flows.qa"}:
        rest += ["--run-dir", str(tmp_path)]
    code, printed = module_answer(module, *rest, cache=cache)
    assert code == 0, printed
    assert printed


def test_every_shipped_page_is_reached_from_the_readme() -> None:
    for readme in ("README.md", "README.zh.md"):
        text = (ROOT / readme).read_text()
        for page in (ROOT / "docs").glob("*.md"):
            assert f"docs/{page.name}" in text, f"{readme} does not lead to {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    for named in re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./*-]*)`", page.read_text()):
        assert list(ROOT.glob(named.rstrip("/").replace("NAME", "*"))), f"{page.name} names {named}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_a_page_names_is_there(page: Path) -> None:
    """In `python -m millrace.…`, `from millrace.… import name`, and as `module:name` of a provider."""
    text = page.read_text()
    named = [(module, "") for module in re.findall(r"python -m (millrace\.[\w.]*\w)", text)]
    named += [
        (module, name)
        for module, names in re.findall(r"from (millrace[\w.]*) import ([\w, ]+)", text)
        for name in names.split(", ")
    ]
    named += re.findall(r"(millrace\.[\w.]+):(\w+)", text)
    for module, name in named:
        assert find_spec(module), f"{page.name} names {module}"
        assert not name or hasattr(import_module(module), name), f"{page.name} names {module}.{name}"


def test_the_readmes_name_every_room_of_the_library() -> None:
    rooms = [path.name for path in (ROOT / "millrace").iterdir() if (path / "__init__.py").exists()]
    for readme in ("README.md", "README.zh.md"):
        table = (ROOT / readme).read_text().split("```")
        map_of_rooms = next(block for block in table if "flows/ " in block and "tasks/ " in block)
        assert [room for room in rooms if not re.search(rf"\b{room}/", map_of_rooms)] == [], readme


def test_the_readmes_python_calls_what_there_is() -> None:
    called = []
    for readme in ("README.md", "README.zh.md"):
        for block in re.findall(r"```python\n(.*?)```", (ROOT / readme).read_text(), re.S):
            for line in (line for line in ast.walk(ast.parse(block)) if isinstance(line, ast.Call)):
                if not (isinstance(line.func, ast.Attribute) and isinstance(line.func.value, ast.Name)):
                    continue
                if line.func.value.id != "millrace":
                    assert hasattr(millrace.RunResults, line.func.attr), f"{readme}: .{line.func.attr}"
                    continue
                function = getattr(millrace, line.func.attr)
                named = {keyword.arg: None for keyword in line.keywords if keyword.arg}
                inspect.signature(function).bind(*[None for _ in line.args], **named)
                called.append(line.func.attr)
    assert "find_failures" in called


def test_both_readmes_are_short() -> None:
    for readme in ("README.md", "README.zh.md"):
        assert len((ROOT / readme).read_text().splitlines()) <= README_LINES, readme


def test_the_citation_is_of_the_version_that_is_here_and_of_the_format_that_readers_expect() -> None:
    citation = ROOT / "CITATION.cff"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load(citation.read_text())
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.citation-file-format", str(citation)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_hooks_before_a_commit_are_the_linters_of_make_lint() -> None:
    hooks = [hook for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text()
    lint = re.findall(r"\$\(BIN\)/(\w+)( \w+)?", makefile.split("\nlint:")[1].split("\n\n")[0])
    assert [hook["entry"].split(" --")[0] for hook in hooks] == [f".venv/bin/{name}{verb}" for name, verb in lint]
