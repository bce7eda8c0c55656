"""The command, once: two models probed and compared, killed half-way, with one rank and with two."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from millrace.compare.verify import verify
from tests.e2e.commands import Command, run

pytestmark = [pytest.mark.flow, pytest.mark.slow]

FIGURES = ("whole", "claims", "factors", "outcomes", "dropped", "flips", "verdict", "no_harm", "says")


def test_a_killed_comparison_of_two_models_ends_with_the_figures_of_an_undisturbed_one_for_any_number_of_ranks(
    tmp_path: Path, scenes: Path, cache: Path
) -> None:
    chosen = [f"compare.{side}.baseline={{name: guess, seed: {seed}}}" for seed, side in enumerate(("before", "after"))]
    chosen += [f"probing.lake.path={scenes}", "probing.sample_size=30", "compare.draws=500", "cluster.workers=1"]

    def arguments(folder: str, ranks: int) -> list[str]:
        given = [*chosen, f"probing.torchrun.nproc_per_node={ranks}"]
        return ["--run-dir", str(tmp_path / folder), *(part for one in given for part in ("--set", one))]

    killed = Command("compare", *arguments("killed", 1), cache=cache)
    half_way = tmp_path / "killed" / "before" / "summary.json"
    while not half_way.exists() and killed.witness.poll() is None:
        time.sleep(0.1)
    assert half_way.exists()
    killed.kill()
    killed.wait_until_nothing_is_left()
    for folder, ranks in (("killed", 2), ("whole", 1)):
        code, printed = run("compare", *arguments(folder, ranks), cache=cache)
        assert code == 0, printed
        assert "power: to see 5.0" in printed
    killed_figures, whole_figures = (json.loads((tmp_path / name / "summary.json").read_text()) for name in ("killed", "whole"))
    assert {name: killed_figures[name] for name in FIGURES} == {name: whole_figures[name] for name in FIGURES}
    assert whole_figures["whole"]["images"] == 30
    assert verify(tmp_path / "killed")[1]
    assert (tmp_path / "killed" / "report.html").read_text().count("<img ") > 2
