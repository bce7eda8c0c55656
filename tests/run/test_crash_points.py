"""The main job that is killed: wherever that happens in it, it ends with the records of an undisturbed one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec
import pytest

from millrace.filtering.settings import FilteringSettings
from millrace.filtering.stage import Filtering
from millrace.probing.ranks.probe_unit import probe_unit
from millrace.probing.ranks.settlement import open_unit, settle_outcomes
from millrace.probing.ranks.units import plan_of
from millrace.probing.ranks.worker import open_probe
from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import AskBaseline, Probing
from millrace.qa.settings import QaSettings
from millrace.qa.stage import WriteQuestions
from millrace.records.summaries import ProbingSummary
from millrace.reporting.full_results import conclude
from millrace.run.context import RunContext
from millrace.run.folder import finished_state
from millrace.run.local import open_local_run
from tests.run.crash_points import Contents, contents_of, crash_points, put_back

RECORDS = ("probing/shard-", "filtering/shard-", "qa/shard-", "dataset/")


class ProbingHere(Probing):
    """One rank's work without torchrun, which tests/probing/test_ranks.py kills."""

    def run(self, run: RunContext, folder: Path) -> ProbingSummary:
        lake = self.config.lake.path
        assert lake is not None
        probe, plan = open_probe(self.config, lake, "cpu"), plan_of(self.config, lake)
        index = 0
        while (unit := plan[index]) is not None:
            with open_unit(folder / "work", index) as journal:
                probe_unit(probe, unit, journal, lambda _: None)
            index += 1
        return msgspec.structs.replace(settle_outcomes(self.config, lake, folder), target=None, lake=str(lake))


def main_job(lake: Path, folder: Path) -> None:
    """Probing → filtering → questions, as `millrace.find_failures` does them."""
    probing = ProbingConfig(
        baseline={"name": "tests.probing.coin_baseline"},
        lake={"path": lake},
        target_failure_count=None,
        sample_size=4,
        failure_batch_size=2,
    )
    filtering = FilteringSettings(failures_per_image=None, quota=2, shard_size=4)
    stages = [ProbingHere(probing), Filtering(filtering), WriteQuestions(QaSettings(), AskBaseline())]
    sections = {stage.section: stage.config for stage in stages}
    if finished_state(folder, "full", sections):
        return
    with open_local_run("full", sections, folder) as run:
        for stage in stages:
            run.do(stage)
        conclude(run, probing.claim_set())
        run.finish(stages)


def records_of(contents: Contents) -> Contents:
    return {name: data for name, data in contents.items() if name.startswith(RECORDS)}


@pytest.mark.timeout(900)
def test_a_kill_at_any_point_of_the_main_job_changes_no_record(scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    left = crash_points(partial(main_job, scenes), folder)
    wanted = records_of(contents_of(folder))
    assert any(name.startswith("dataset/") for name in wanted)
    assert len(left) > 40  # 50 when this was written
    for contents in left:
        put_back(contents, folder)
        main_job(scenes, folder)
        assert records_of(contents_of(folder)) == wanted, f"after a kill that left {sorted(contents)}"
