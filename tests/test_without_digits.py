"""The product needs none of its plug-ins: in a copy without the embedded world everything else works and its tests pass."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SUBSET = (
    "tests/lake/test_annotations.py",
    "tests/probing/test_claims.py",
    "tests/probing/test_units.py",
    "tests/filtering/test_selection_records.py",
    "tests/qa/test_answer_vocabulary.py",
    "tests/qa/test_options.py",
    "tests/qa/test_questions.py",
    "tests/qa/test_settle.py",
    "tests/reporting/test_intervals.py",
)
"""Of every room that knew the digits once; what is about digit scenes in them is skipped."""


NO_EDITABLE_INSTALL = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
"""
"""An editable install finds by itself what a copy lacks."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without `millrace/digits` and its tests."""
    root = tmp_path_factory.mktemp("copy")
    for name in ("millrace", "tests", "configs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "digits"))
    shutil.copy(ROOT / "pyproject.toml", root)
    (root / "sitecustomize.py").write_text(NO_EDITABLE_INSTALL)
    return root


def run(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=560
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_the_embedded_world_the_other_tests_pass(copy: Path) -> None:
    done = run(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *SUBSET)
    assert done.returncode == 0, done.stdout[-4000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 40, done.stdout[-1000:]


def test_without_the_embedded_world_its_names_are_unknown_and_an_embedded_lake_is_refused_in_one_sentence(copy: Path) -> None:
    program = (
        "from millrace.errors import InputError, UsageError\n"
        "from millrace.lake.annotations import annotation_kinds\n"
        "from millrace.lake.embedded import plan_lake\n"
        "from millrace.probing.baselines import baseline_settings\n"
        "assert 'digit_scene' not in annotation_kinds()\n"
        "for call in (lambda: baseline_settings({'name': 'embedded'}), lambda: plan_lake(images=3, seed=1, rows_per_shard=3)):\n"
        "    try:\n        call()\n"
        "    except (UsageError, InputError) as error:\n        print(error)\n"
    )
    done = run(copy, "-c", program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("no baseline named 'embedded'")
    assert "set probing.lake.path" in done.stdout.splitlines()[1]
