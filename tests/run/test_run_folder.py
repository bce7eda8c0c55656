"""Run folders: resume, refusal, the lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import Field

from millrace.config import OPERATIONAL, Settings
from millrace.errors import UsageError
from millrace.run.folder import RunFolder, finished_state


class Config(Settings):
    seed: int = 1
    name: str = "x"
    workers: int = Field(default=1, json_schema_extra=OPERATIONAL)


def test_another_config_is_refused_naming_the_fields_that_differ(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", {"probing": Config()}):
        pass
    with pytest.raises(UsageError, match=r"probing\.name: 'x' there, 'y' now; probing\.seed: 1 there, 2 now"):
        RunFolder.open(tmp_path / "run", {"probing": Config(seed=2, name="y")})


def test_a_run_may_be_resumed_with_other_operational_values(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", {"probing": Config()}) as folder:
        folder.finish("probing", "finished")
    with RunFolder.open(tmp_path / "run", {"probing": Config(workers=4)}) as folder:
        assert folder.state_of("probing") == "finished"


def test_flows_share_a_folder_each_with_its_own_section(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", {"probing": Config()}) as folder:
        folder.finish("probing", "finished")
    with RunFolder.open(tmp_path / "run", {"qa": Config(seed=5)}) as folder:
        assert folder.state_of("probing") == "finished"
        assert folder.state_of("qa") == "running"
    assert finished_state(tmp_path / "run", "probing", {"probing": Config()}) == "finished"
    assert finished_state(tmp_path / "run", "qa", {"qa": Config(seed=5)}) is None


def test_a_folder_that_is_not_there_is_not_finished(tmp_path: Path) -> None:
    assert finished_state(tmp_path / "none", "full", {"full": Config()}) is None
    assert not (tmp_path / "none").exists()


def test_two_processes_cannot_run_in_one_folder_and_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, time; from millrace.run.folder import RunFolder\n"
        "RunFolder.open(pathlib.Path(sys.argv[1]), {}); print('held', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "run")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(UsageError, match="another run is at work"):
        RunFolder.open(tmp_path / "run", {})
    child.kill()
    child.wait()
    RunFolder.open(tmp_path / "run", {}).close()


def test_a_folder_is_held_until_it_is_closed_also_against_its_own_process(tmp_path: Path) -> None:
    outer = RunFolder.open(tmp_path / "run", {})
    with pytest.raises(UsageError, match="another run is at work"):
        RunFolder.open(tmp_path / "run", {})
    assert outer.manifest()["flows"] == {}
    outer.close()
    outer.close()
    RunFolder.open(tmp_path / "run", {}).close()


@pytest.mark.parametrize("kind", ["file", "read-only"])
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "run"
    if kind == "file":
        place.write_text("in the way")
    else:
        place = Path("/proc/millrace")
    with pytest.raises(UsageError, match="cannot be used"):
        RunFolder.open(place, {})


def test_a_damaged_manifest_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        RunFolder.open(tmp_path / "run", {})


def test_each_attempt_is_counted_once(tmp_path: Path) -> None:
    for attempt in (1, 2):
        with RunFolder.open(tmp_path / "run", {"qa": Config()}) as folder:
            assert folder.manifest()["flows"]["qa"]["attempts"] == attempt
