"""A run of `improve` that is killed at any moment ends with the figures of one that was not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from millrace.improve.verification.figures_again import differing_figures
from millrace.run.journal import read_json
from tests.improve.conftest import BETTER, do_in

World = tuple[Path, Path]
SMALL = {"images": 12, "seeds": 2, "arms": ("targeted", "untargeted", "shuffled")}
CHANGING = {"seconds", "work_seconds", "training_s", "plan"}
"""Of a summary: what may differ, and `plan`, which is compared by itself."""


class Killed(BaseException):
    """Stands for the signal: nothing in the product catches it."""


def figures_of(run_dir: Path) -> dict[str, Any]:
    summary = read_json(run_dir / "improve" / "summary.json")
    return {name: summary[name] for name in summary if name not in CHANGING}


@pytest.fixture(scope="module")
def undisturbed(made: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """(the folder of a run that nobody killed, how many files it put in their places)."""
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    shutil.copytree(made[0], run_dir)
    with pytest.MonkeyPatch.context() as patch:
        places = kill_at(patch, None)
        do_in(run_dir, made[1])(BETTER, **SMALL)
    return run_dir, len(places)


def kill_at(patch: pytest.MonkeyPatch, place: int | None, *, after: bool = False) -> list[Path]:
    """Die where the file number `place` gets its name: before, or right after. Returns the list of files that got theirs."""
    named: list[Path] = []
    replace = Path.replace

    def replacing(self: Path, target: Path) -> Path:
        if len(named) == place and not after:
            raise Killed(str(target))
        result = replace(self, target)
        named.append(Path(target))
        if len(named) - 1 == place and after:
            raise Killed(str(target))
        return result

    patch.setattr(Path, "replace", replacing)
    return named


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.8, 0.999])
def test_a_run_that_dies_where_a_file_gets_its_name_ends_with_the_same_figures(
    made: World, undisturbed: tuple[Path, int], tmp_path: Path, share: float, after: bool
) -> None:
    whole, files = undisturbed
    run_dir = tmp_path / "run"
    shutil.copytree(made[0], run_dir)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, int(share * files), after=after)
        with pytest.raises(Killed):
            do_in(run_dir, made[1])(BETTER, **SMALL)
    do_in(run_dir, made[1])(BETTER, **SMALL)
    assert figures_of(run_dir) == figures_of(whole)
    assert differing_figures(run_dir)[1] == []
    assert not list(run_dir.rglob(".*.tmp"))


def test_a_run_whose_process_is_killed_ends_with_the_same_figures(
    made: World, undisturbed: tuple[Path, int], tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    shutil.copytree(made[0], run_dir)
    program = (
        "from pathlib import Path; from tests.improve.conftest import BETTER, do_in; from tests.improve.test_kills import SMALL; "
        f"do_in(Path({str(run_dir)!r}), Path({str(made[1])!r}))(BETTER, **SMALL)"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", program], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    deadline = time.monotonic() + 60
    while not list((run_dir / "improve").glob("trainings/*/trained.json")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run_dir / "improve" / "summary.json").exists(), "it was killed in the middle"
    do_in(run_dir, made[1])(BETTER, **SMALL)
    assert figures_of(run_dir) == figures_of(undisturbed[0])
