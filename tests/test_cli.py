"""The command `millrace`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.cli import flow_package, main
from millrace.config import find_config, shipped_configs
from millrace.errors import UsageError

FLOWS = sorted(path.stem for path in (Path(__file__).parents[1] / "flows").glob("*.py") if path.stem != "__init__")


def millrace(*arguments: str, cwd: Path) -> tuple[int, str]:
    command = [sys.executable, "-m", "millrace", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_every_flow_is_found_without_importing_one() -> None:
    assert flow_package()[1] == FLOWS
    assert not {f"{flow_package()[0]}.{name}" for name in FLOWS} & set(sys.modules) or "flows.full" in sys.modules


def test_a_flow_answers_from_any_folder_by_the_name_of_shipped_settings(tmp_path: Path) -> None:
    code, printed = millrace("full", "--config", "quick", "--dry-run", cwd=tmp_path)
    assert code == 0, printed
    assert "images: 200 embedded digit scenes" in printed
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_flows_and_tasks_of_its_own_is_no_trouble(tmp_path: Path) -> None:
    for name in ("flows", "tasks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('somebody else\\'s')")
    code, printed = millrace("synthesis", "--config", "math", "--dry-run", cwd=tmp_path)
    assert code == 0, printed


def test_wrong_names_are_one_sentence(tmp_path: Path) -> None:
    code, printed = millrace("full", "--config", "quik", "--dry-run", cwd=tmp_path)
    assert code == 2
    assert "there is no config file quik, and none of that name is shipped; did you mean 'quick'?" in printed
    code, printed = millrace("ful", cwd=tmp_path)
    assert code == 2
    assert "invalid choice: 'ful'" in printed


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_the_flows(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--print-completion", shell])
    assert end.value.code == 0
    assert set(FLOWS) <= set(re.findall(r"\w+", capsys.readouterr().out))


def test_the_shipped_settings_are_listed_and_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "synthesis"]) == 0
    assert capsys.readouterr().out.split("\n")[:-1] == [
        f"millrace synthesis --config {name}" for name in shipped_configs("synthesis")
    ]
    assert find_config("synthesis", Path("math")).name == "math.yaml"
    assert find_config("synthesis", Path("mine.yaml")) == Path("mine.yaml")
    with pytest.raises(UsageError, match="did you mean 'math'"):
        find_config("synthesis", Path("mat"))


def test_the_schema_of_a_flows_settings_has_each_field_with_its_help(tmp_path: Path) -> None:
    code, printed = millrace("schema", "filtering", cwd=tmp_path)
    assert code == 0, printed
    schema = json.loads(printed)
    assert set(schema["properties"]) == {"filtering", "input", "cluster"}
    assert schema["additionalProperties"] is False
    assert "Empty takes those of the run folder" in schema["properties"]["input"]["description"]


def test_a_schema_is_printed_without_importing_prefect_or_torch() -> None:
    program = (
        "import sys\nfrom millrace.cli import main\nassert main(['schema', 'full']) == 0\n"
        "sys.exit(str({'prefect', 'torch', 'distributed', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"
    assert json.loads(done.stdout)["title"] == "FullConfig"
