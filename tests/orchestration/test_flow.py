"""A flow file as Prefect sees it, and as a command."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs
from prefect.flows import Flow

from millrace.config import load_config
from millrace.errors import UsageError
from millrace.orchestration.flow import Definition
from millrace.orchestration.run_name import run_name
from millrace.records.training.report import TrainingSummary
from millrace.run.folder import RunFolder
from millrace.run.journal import read_json
from millrace.run.local import LocalRun
from millrace.run.progress import Progress
from millrace.run.stage import Stage

ROOT = Path(__file__).parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_a_prefect_flow_whose_form_explains_its_parameters(name: str) -> None:
    flow = getattr(importlib.import_module(f"flows.{name}"), name)
    assert isinstance(flow, Flow)
    assert flow.name == name
    assert flow.flow_run_name is run_name
    schema = flow.parameters.model_dump()
    assert list(schema["properties"]) == ["config", "settings", "advanced", "run_dir"]
    assert all(len(parameter["description"]) > 20 for parameter in schema["properties"].values())
    assert schema["properties"]["run_dir"]["default"] == f"runs/{name}"
    assert "taken up again" in schema["properties"]["run_dir"]["description"]
    assert schema["required"] == []
    assert flow.description.strip()


@pytest.mark.parametrize("name", FLOWS)
def test_the_sections_of_a_run_folder_are_those_of_its_stages(name: str) -> None:
    definition: Definition = getattr(importlib.import_module(f"flows.{name}"), name).definition
    config = definition.config()
    assert set(definition.sections(config)) == ({"probing", "filtering", "qa"} if name == "full" else {name})
    assert definition.tasks == "tasks"


def test_the_installed_names_lead_to_the_same_flows_and_to_tasks_of_their_own() -> None:
    flow = importlib.import_module("millrace.flows.full").full
    assert flow.definition.tasks == "millrace.tasks"
    installed = importlib.import_module("millrace.tasks.qa").__file__
    assert installed is not None
    assert Path(installed).samefile(Path(__file__).parents[2] / "tasks" / "qa.py")


def test_every_task_wraps_a_function_that_a_stage_can_map() -> None:
    from millrace.orchestration.prefect_tasks import shard_task_of, step_task_of
    from millrace.qa.writing.write_shards import plan_questions, write_shard

    tasks = importlib.import_module("tasks.qa")
    assert shard_task_of(write_shard, "tasks") is tasks.write_shard
    assert step_task_of(plan_questions, "tasks") is tasks.plan_questions
    own = shard_task_of(len, "tasks")
    assert own is shard_task_of(len, "tasks")
    assert own.name == "len"


def test_a_flow_of_ones_own_runs_the_librarys_stages_also_where_no_tasks_lie_beside_it() -> None:
    from millrace.checkpoint.compare import compare_readers
    from millrace.checkpoint.verify import verify_part
    from millrace.orchestration.prefect_tasks import shard_task_of, step_task_of

    assert shard_task_of(verify_part, "worktasks").name == "verify_part"
    assert step_task_of(compare_readers, "nowhere.tasks").name == "compare_readers"


def test_a_process_that_a_run_starts_builds_no_prefect_flow_of_the_file_that_was_run() -> None:
    """A Dask worker imports the file that is `__main__` here, as `__mp_main__`."""
    program = (
        "import runpy, sys\n"
        "left = runpy.run_module('flows.full', run_name='__mp_main__', alter_sys=True)\n"
        "assert left['FullConfig'] and not {'prefect', 'torch', 'distributed'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class ShortRun(LocalRun):
    """A run whose stages are all complete and short of their target."""

    def do(self, stage: Stage) -> TrainingSummary:
        self.short.add(stage.name)
        counted = TrainingSummary(runs=2, ok=1, failed=1, attempts=3, failures={"exit_code": 1}, notes=[])
        return structs.replace(counted, seconds=2.0, work_seconds=1.5)


def test_a_training_with_failed_runs_is_short_in_its_summary_and_in_what_the_command_hears(tmp_path: Path) -> None:
    definition: Definition = importlib.import_module("flows.training").training.definition
    config = definition.config()
    with RunFolder.open(tmp_path, definition.sections(config)) as folder, Progress("training") as progress:
        summary = definition.function(ShortRun("training", folder, progress, 1), config)
    assert summary.status == "short"
    written = read_json(tmp_path / "summary.json")
    assert (written["status"], written["work_seconds"]) == ("short", 1.5)
    assert list(written) == [
        "status", "runs", "ok", "failed", "attempts", "failures", "notes", "seconds", "work_seconds", "colocation",
    ]  # fmt: skip
    assert list(written["seconds"]) == ["wall", "work", "orchestration", "stages"]


def test_a_shape_of_a_stage_that_the_run_does_not_have_is_refused_before_anything_starts(tmp_path: Path) -> None:
    definition: Definition = importlib.import_module("flows.filtering").filtering.definition
    config = load_config(definition.config, None, ["cluster.stages={filtring: {timeout_s: 5}}"])
    for refuses in (definition.plan, definition.check):
        with pytest.raises(UsageError, match=r"cluster.stages: this run has no stage 'filtring'; did you mean 'filtering'"):
            refuses(config, tmp_path)
