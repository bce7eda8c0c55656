"""`millrace checkpoint verify PATH`: the verdict by its exit code, and each damaged item by name."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest

from millrace.checkpoint.direct.command import is_light, main
from tests.checkpoint.saved_checkpoints import filled, save


def test_a_whole_checkpoint_is_called_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save({"a": filled(30), "b": {"c": filled(4, 4), "order": OrderedDict(x=1)}, "step": 5}, tmp_path)
    assert main(["verify", str(tmp_path)]) == 0
    assert "whole; 4 items" in capsys.readouterr().out


def test_a_flipped_bit_is_damage_with_its_file_and_tensor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save({"a": filled(3000)}, tmp_path)
    (path,) = tmp_path.glob("*.distcp")
    data = bytearray(path.read_bytes())
    data[5000] ^= 8
    path.write_bytes(data)
    assert main(["verify", str(tmp_path)]) == 1
    assert "'a'" in (told := capsys.readouterr().out)
    assert path.name in told
    assert "1 problem" in told


def test_what_is_no_checkpoint_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "nowhere")]) == 2
    assert main(["verify", str(tmp_path)]) == 2
    assert "holds no checkpoint" in capsys.readouterr().err


def test_options_of_the_flow_lead_to_the_flow() -> None:
    assert is_light(["verify", "somewhere"])
    for arguments in (["verify"], ["verify", "x", "--set", "seal=true"], ["convert", "x"], ["verify", "--help"], []):
        assert not is_light(arguments)
