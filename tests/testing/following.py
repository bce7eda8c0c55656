"""Does what a page of docs/extending says: writes its files, runs its commands, and holds its words against what comes out.

A page is read from top to bottom. A line "`mine/thing.py`:" before a code block is a file to write. A `bash` block holds
commands, one a line. A `text` block after them is what they print, among other things: each of its lines, with … for whatever
stands there.

Commands run in this process. `millrace NAME …` is answered by its own command line, up to the start of Prefect's server and
Dask's workers; there the same flow runs its stages here (`open_local_run`), as the functions of `import millrace` do. The same
probing is done once for all pages, under torchrun; the many models that `improve` asks are asked here.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from millrace import cli
from millrace.config import fingerprint_of
from millrace.orchestration import flow_command
from millrace.probing import another_model
from millrace.probing.ranks.probe_unit import probe_unit
from millrace.probing.ranks.settlement import open_unit
from millrace.probing.ranks.units import plan_of
from millrace.probing.ranks.worker import open_probe
from millrace.probing.settings import ProbingConfig
from millrace.run.ids import content_id
from millrace.run.local import open_local_run
from millrace.testing.plugin_under_test import plugin_under_test

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"(?:^`(?P<path>[\w./-]+)`[^\n]*:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A code block, and the file that it is to be."""

    path: str | None
    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """The code blocks of a page in their order."""
    return [Block(found["path"], found["language"], found["text"]) for found in FENCE.finditer(page.read_text(encoding="utf-8"))]


class Reader:
    """Somebody who follows pages, in a folder."""

    def __init__(self, folder: Path, probings: Path) -> None:
        self.folder = folder
        self._probings = probings
        self._said = ""

    def follow(self, page: Path) -> int:
        """Do what the page says; gives the number of commands that were run."""
        commands = 0
        for block in blocks_of(page):
            if block.path is not None:
                file = self.folder / block.path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
            elif block.language == "bash":
                lines = [line.split("  #")[0] for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
                self._said = "".join(self._run(shlex.split(line)) for line in lines)
                commands += len(lines)
            elif block.language == "text":
                self._hold(block.text, page)
        return commands

    def _hold(self, promised: str, page: Path) -> None:
        for line in promised.splitlines():
            pattern = ".*".join(re.escape(part.strip()) for part in line.split("…"))
            assert re.search(pattern, self._said), f"{page.name} promises '{line}'; what came out:\n{self._said[-3000:]}"

    def _run(self, words: list[str]) -> str:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = self._code(words)
        assert code == 0, f"{shlex.join(words)} ended with {code}:\n{out.getvalue()[-3000:]}"
        return out.getvalue()

    def _code(self, words: list[str]) -> int:
        match words:
            case ["millrace", *arguments]:
                return self._millrace(arguments)
            case ["python", "-m", "millrace.testing", plugin, *rest]:
                return self._check(plugin, rest[1] if rest[:1] == ["--settings"] else None)
            case ["python", script]:
                runpy.run_path(str(self.folder / script), run_name="__main__")
                return 0
            case ["ls", *places]:
                for place in places:
                    _say(" ".join(sorted(path.name for path in (self.folder / place).iterdir())))
                return 0
            case ["head", "-n", count, place]:
                _say("\n".join((self.folder / place).read_text(encoding="utf-8").splitlines()[: int(count)]))
                return 0
        raise AssertionError(f"the follower of the pages knows no way to run {shlex.join(words)}")

    def _check(self, plugin: str, settings: str | None) -> int:
        """What `python -m millrace.testing` has pytest do (`test_testing.py` does it with pytest)."""
        found = plugin_under_test(plugin, settings)
        with found.opened() as subject:
            for promise in found.promises:
                promise(subject)
        _say(f"{len(found.promises)} passed")
        return 0

    def _millrace(self, arguments: list[str]) -> int:
        own, term = flow_command.start, signal.getsignal(signal.SIGTERM)
        flow_command.start = self._start  # type: ignore[assignment]
        try:
            return cli.main(arguments)
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            flow_command.start = own
            signal.signal(signal.SIGTERM, term)

    def _start(self, definition: Any, config: Any, run_dir: Path) -> int:
        if "probing" in definition.sections(config) and not run_dir.exists():
            shutil.copytree(self._probed(definition, config), run_dir)
        with open_local_run(definition.name, definition.sections(config), run_dir) as run:
            definition.function(run, config)
            run.finish(definition.stages(config))
        return 3 if run.status == "short" else 0

    def _probed(self, definition: Any, config: Any) -> Path:
        """A folder in which only the probing of this config is done: once for all pages that want the same."""
        (stage,) = (stage for stage in definition.stages(config) if stage.name == "probing")
        sources = sorted(path.read_text() for path in self.folder.rglob("*.py"))
        own = sources if "mine." in str(stage.config) else []
        folder = self._probings / content_id("probing", fingerprint_of(stage.config), own)
        if not folder.exists():
            with open_local_run("probing", {"probing": stage.config}, folder) as run:
                run.do(stage)
                run.finish([stage])
        return folder


def _rank_here(config: ProbingConfig, lake: Path, stage: Path, logs: Path, on_progress: Any) -> None:
    """The work of one rank."""
    del logs, on_progress
    probe, plan, index = open_probe(config, lake, "cpu"), plan_of(config, lake), 0
    while (unit := plan[index]) is not None:
        with open_unit(stage / "work", index) as journal:
            probe_unit(probe, unit, journal, lambda _: None)
        index += 1


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@contextlib.contextmanager
def reading_in(folder: Path, probings: Path) -> Iterator[Reader]:
    """A reader at work in `folder`: it is the working folder and on the module path, and its modules are forgotten afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(ROOT))  # as for a reader: children find the folder because commands run in it
        patch.setenv("MILLRACE_CACHE", str(folder / "cache"))
        patch.setattr(another_model, "run_ranks", _rank_here)
        forget()
        try:
            yield Reader(folder, probings)
        finally:
            forget()


def forget() -> None:
    """Forget the reader's modules, and what was remembered of the plug-ins that there are."""
    from millrace.boxes import kinds, question_rules, verifiers
    from millrace.digits import kinds as digit_kinds
    from millrace.digits import phrasing
    from millrace.digits import verifiers as digit_verifiers
    from millrace.lake import annotations
    from millrace.plugins import entry_points, loading
    from millrace.qa.writing import pipelines

    for name in [name for name in sys.modules if name.split(".")[0] == "mine"]:
        del sys.modules[name]
    for remembered in (loading._checked, entry_points._modules, entry_points._declared, entry_points._of_project):
        remembered.cache_clear()
    for remembered in (annotations.annotation_kinds, annotations.annotation_columns, annotations.added_pipelines):
        remembered.cache_clear()
    for remembered in (pipelines.load_pipelines, kinds.claim_kinds, question_rules.wordings):
        remembered.cache_clear()
    for remembered in (verifiers._checks, digit_kinds.claim_kinds, digit_verifiers.all_checks, phrasing.load_phrasing):
        remembered.cache_clear()
