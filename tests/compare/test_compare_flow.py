"""The command, once: two models probed and compared, killed half-way, with one rank and with two."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from flows.compare import CompareFlowConfig, parts
from millrace.compare.results import finish, sides_in
from millrace.compare.verification.verify import verify
from millrace.probing.how_asked import HowAsked
from millrace.records.record import encode
from millrace.records.results.compare import CompareSummary
from millrace.run.local import open_local_run
from tests.e2e.commands import Command, run

pytestmark = [pytest.mark.flow, pytest.mark.slow]

FIGURES = ("whole", "claims", "factors", "outcomes", "dropped", "flips", "verdict", "no_harm", "says")


def undisturbed(folder: Path, settings: dict[str, Any]) -> CompareSummary:
    """The same comparison in this process, from beginning to end."""
    config = CompareFlowConfig.model_validate(settings)
    probed, comparison = parts(config)
    stages = [*probed, comparison]
    with open_local_run("compare", {stage.section: stage.config for stage in stages}, folder) as here:
        for stage in stages:
            here.do(stage)
        return finish(here, config.compare, HowAsked(), sides_in(folder, config.compare))


def test_a_killed_comparison_of_two_models_ends_with_the_figures_of_an_undisturbed_one_for_any_number_of_ranks(
    tmp_path: Path, scenes: Path, cache: Path
) -> None:
    sides = {side: {"baseline": {"name": "guess", "seed": seed}} for seed, side in enumerate(("before", "after"))}
    compare, probing = {**sides, "draws": 500}, {"lake": {"path": str(scenes)}, "sample_size": 30}

    def arguments(ranks: int) -> list[str]:
        asked = {**probing, "torchrun": {"nproc_per_node": ranks}}
        given = [f"compare={json.dumps(compare)}", f"probing={json.dumps(asked)}", "cluster.workers=1"]
        return ["--run-dir", str(tmp_path / "killed"), *(part for one in given for part in ("--set", one))]

    killed = Command("compare", *arguments(1), cache=cache)
    half_way = tmp_path / "killed" / "before" / "summary.json"
    while not half_way.exists() and killed.witness.poll() is None:
        time.sleep(0.1)
    assert half_way.exists()
    killed.kill()
    killed.wait_until_nothing_is_left()
    code, printed = run("compare", *arguments(2), cache=cache)
    assert code == 0, printed
    assert "power: to see 5.0" in printed
    found = json.loads((tmp_path / "killed" / "summary.json").read_text())
    whole = undisturbed(tmp_path / "whole", {"compare": compare, "probing": {**probing, "torchrun": {"nproc_per_node": 1}}})
    figures = json.loads(encode(whole))
    assert {name: found[name] for name in FIGURES} == {name: figures[name] for name in FIGURES}
    assert found["whole"]["images"] == 30
    assert verify(tmp_path / "killed")[1]
    assert (tmp_path / "killed" / "report.html").read_text().count("<img ") > 2
