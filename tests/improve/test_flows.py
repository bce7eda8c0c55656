"""Where the proof stands in the flows: on its own folder, after a probing of its own, or as the main job's last stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.full import FullConfig
from flows.full import stages as stages_of_full
from flows.improve import ImproveFlowConfig
from flows.improve import stages as stages_of_improve
from millrace.config import configs_folder, load_config
from millrace.run.stage import Forecast


def names(stages: object) -> list[str]:
    return [stage.name for stage in stages]  # type: ignore[attr-defined]


def test_the_main_job_ends_with_the_proof_only_where_it_is_switched_on() -> None:
    assert names(stages_of_full(FullConfig())) == ["probing", "filtering", "qa"]
    on = FullConfig.model_validate({"improve": {"enabled": True}})
    assert names(stages_of_full(on)) == ["probing", "filtering", "qa", "improve"]


def test_improve_probes_a_pool_of_its_own_only_where_one_is_named() -> None:
    assert names(stages_of_improve(ImproveFlowConfig())) == ["improve"]
    assert names(stages_of_improve(ImproveFlowConfig.model_validate({"probing": {}}))) == ["probing", "improve"]


@pytest.mark.parametrize("name", ["quick", "proof"])
def test_a_shipped_proof_passes_its_own_check_and_says_how_long_it_may_take(name: str, tmp_path: Path) -> None:
    config = load_config(ImproveFlowConfig, configs_folder() / "improve" / f"{name}.yaml")
    proof = stages_of_improve(config)[-1]
    proof.check(tmp_path, ["probing"])
    forecast = Forecast(stages=["probing"])
    lines = proof.plan(tmp_path, forecast)
    assert any(line.startswith("time: about") and "an estimate" in line for line in lines)
    assert list(tmp_path.iterdir()) == []
