"""What the README and docs/ say can be followed: links lead somewhere, commands are understood, settings exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "README.zh.md", *(ROOT / "docs").glob("*.md"), ROOT / "configs" / "README.md"])
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
def test_every_command_in_the_pages_is_understood(command: str, tmp_path: Path) -> None:
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
    program = [sys.executable, "-m", module, *rest]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_every_shipped_page_is_reached_from_the_readme() -> None:
    for readme in ("README.md", "README.zh.md"):
        text = (ROOT / readme).read_text()
        for page in (ROOT / "docs").glob("*.md"):
            assert f"docs/{page.name}" in text, f"{readme} does not lead to {page.name}"


def test_both_readmes_are_short() -> None:
    for readme in ("README.md", "README.zh.md"):
        assert len((ROOT / readme).read_text().splitlines()) <= README_LINES, readme
