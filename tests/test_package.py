"""What is installed: a wheel whose content works anywhere, beside whatever else is there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = {".yaml", ".json", ".j2", ".txt", ".typed", ".jpg", ".parquet"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from a copy of the checkout and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("millrace", "flows", "tasks", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "-w",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "installed")
    return folder / "installed"


def millrace(installed: Path, cwd: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "millrace", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_takes_no_name_but_its_own(installed: Path) -> None:
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"millrace"}
    points = next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "millrace = millrace.cli:main" in points


def test_a_plug_in_is_checked_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    points = next(installed.glob("*.dist-info/entry_points.txt")).read_text()
    assert "pytest11" not in points  # pytest would rewrite the assertions of every module of a package that has one
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cards.py").write_text("def rows(item, trajectory, tree):\n    yield {'front': item.question}\n")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "millrace.testing", "mine.cards", "-q"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_every_module_and_every_file_of_data_is_in_the_wheel(installed: Path) -> None:
    for outside, inside in (("millrace", "millrace"), *((name, f"millrace/{name}") for name in ("flows", "tasks", "configs"))):
        for path in (ROOT / outside).rglob("*"):
            if path.suffix == ".py" or path.suffix in DATA:
                place = installed / inside / path.relative_to(ROOT / outside)
                assert place.exists(), f"{path.relative_to(ROOT)} is missing from the wheel"


def test_the_installed_command_works_beside_flows_and_tasks_of_somebody_else(installed: Path, tmp_path: Path) -> None:
    for name in ("flows", "tasks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('somebody else\\'s')")
    printed = millrace(installed, tmp_path, "full", "--config", "quick", "--dry-run")
    assert "images: 200 embedded digit scenes" in printed
    assert "question pipelines" in printed
    printed = millrace(installed, tmp_path, "full", "--config", "boxes", "--dry-run")
    assert f"images: {installed / 'millrace' / 'configs' / 'full' / 'photographs'} (1 file, 7 rows)" in printed
    assert "seeds: 198 in" in millrace(installed, tmp_path, "synthesis", "--config", "math", "--dry-run")
    program = "import millrace.flows.full as flow, millrace.tasks.qa; print(flow.__file__, flow.full.definition.tasks)"
    command = [sys.executable, "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(installed / "millrace" / "flows" / "full.py"), "millrace.tasks"]


def test_the_reader_needs_neither_prefect_nor_scikit_learn(installed: Path, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'prefect', 'dask', 'distributed', 'sklearn', 'scipy', 'bokeh'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import torch, torch.distributed.checkpoint as dcp\n"
        "from millrace.checkpoint.reader import ParallelFileSystemReader\n"
        "dcp.save({'x': torch.arange(6)}, checkpoint_id='saved', no_dist=True)\n"
        "state = {'x': torch.zeros(6, dtype=torch.int64)}\n"
        "dcp.load(state, storage_reader=ParallelFileSystemReader('saved'), no_dist=True)\n"
        "print(state['x'].tolist())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-W", "ignore", "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[0, 1, 2, 3, 4, 5]"
