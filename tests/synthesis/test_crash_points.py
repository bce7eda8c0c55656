"""A synthesis run that is killed: wherever that happens, it ends with the bytes of an undisturbed one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig
from tests.run.crash_points import contents_of, crash_points, put_back

OF_THE_RUN = ("qa.jsonl", "trajectories.jsonl", "trees.jsonl", "rejected.jsonl", "failures.jsonl", "dataset/chat.jsonl")


@pytest.mark.timeout(600)
def test_a_kill_at_any_point_of_a_run_changes_no_byte(tmp_path: Path) -> None:
    small = {"max_depth": 3, "branching_factor": 2, "depth_threshold": 1}
    config = SynthesisConfig(environment_mode="math", number_of_seed=4, seeds_per_shard=2, **small)
    folder = tmp_path / "run"
    left = crash_points(partial(run_serially, config), folder)
    wanted = {name: data for name, data in contents_of(folder).items() if name in OF_THE_RUN}
    assert wanted["qa.jsonl"]
    assert len(left) > 20
    for number, contents in enumerate(left):
        put_back(contents, folder)
        run_serially(config, folder, launch=f"after kill {number}")
        ended = contents_of(folder)
        assert {name: ended[name] for name in wanted} == wanted, f"after a kill that left {sorted(contents)}"
