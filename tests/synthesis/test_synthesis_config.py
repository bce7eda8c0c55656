"""The original's config files load and run; wrong ones say what is wrong."""

# ruff: noqa: E501 - the configs stand as in the files they are modelled on

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.config import load_config
from millrace.errors import UsageError
from millrace.processes.machine_load import usable_cores
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.settings import SynthesisConfig, warnings_about
from millrace.synthesis.toolset import open_environment

COMMON: dict[str, Any] = {
    "qa_examples": [{"question": "1+1?", "answer": "2"}],
    "sampling_tips": "look around",
    "synthesis_tips": "be brief",
}
REASONED: dict[str, Any] = {
    **COMMON,
    "qa_examples": [{"question": "1+1?", "answer": "2", "reasoning": "counting"}],
    "seed_description": "数学主题",
}
SMALL = {
    "max_depth": 4,
    "branching_factor": 2,
    "depth_threshold": 2,
    "min_depth": 2,
    "max_trajectories": 3,
    "max_retries": 3,
    "max_workers": 1,
}

ORIGINAL: dict[str, dict[str, Any]] = {
    "web_config": {
        **COMMON, "environment_mode": "web", "environment_kwargs": {"web_search_top_k": 3}, "available_tools": ["web_search", "web_visit"],
        "model_name": "gpt-4.1-mini-2025-04-14", "max_depth": 10, "branching_factor": 2, "depth_threshold": 2, "min_depth": 8,
        "max_trajectories": 3, "max_selected_traj": 5, "max_retries": 3, "max_workers": 1, "number_of_seed": 1000,
    },
    "web_config_parallel": {
        **COMMON, "environment_mode": "web", "environment_kwargs": {"web_search_top_k": 10}, "available_tools": ["web_search", "web_visit"],
        "model_name": "gpt-4.1", "max_depth": 10, "branching_factor": 2, "depth_threshold": 2, "min_depth": 8, "max_trajectories": 3,
        "max_selected_traj": 5, "max_retries": 10, "max_workers": 16, "number_of_seed": 200,
    },
    "math_config": {**REASONED, **SMALL, "environment_mode": "math", "available_tools": ["calculator"], "model_name": "gpt-4.1-2025-04-14"},
    "python_config": {**REASONED, **SMALL, "environment_mode": "py", "available_tools": ["python_interpreter"]},
    "rag_config": {
        **REASONED, **SMALL, "environment_mode": "RAG", "available_tools": ["rag_tools"], "environment_kwargs": {"rag_index": "path/to/your/rag_index"},
    },
}  # fmt: skip
"""Files in the original's format, with its keys, presets and faults (a dead key, a tool that does not exist, a placeholder)."""


@pytest.mark.parametrize("name", sorted(ORIGINAL))
def test_a_config_file_of_the_original_loads_and_runs(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.json").write_text(json.dumps(ORIGINAL[name], ensure_ascii=False))
    seeds = [
        "Finland",
        "Quadratic equation with 12",
        "AI in medicine, a text about images",
        "exceptions",
        "圆与正方形的面积",
        "Transformer architecture",
    ]
    (tmp_path / "seeds.json").write_text(json.dumps(seeds, ensure_ascii=False))
    config = load_config(SynthesisConfig, tmp_path / f"{name}.json", [f"seeds={tmp_path / 'seeds.json'}", "max_failure_rate=0.5"])
    said = warnings_about(config, ORIGINAL[name]["available_tools"])
    assert any("max_trajectories" in line for line in said)
    assert ("rag" in name) == any("local_search" in line for line in said)
    statistics = run_serially(config, tmp_path / "run")
    assert statistics.seeds.different == 6
    assert statistics.items.verified >= (10 if "web" in name else 1)  # web: chains of at least 8 actions, 1 to 5 from each seed


def test_every_default_is_the_originals() -> None:
    config = SynthesisConfig()
    original = (5, 2, 3, 2, 3, 3, 1, None, "web", "gpt-4.1-2025-04-14")
    assert original == (
        config.max_depth, config.branching_factor, config.depth_threshold, config.min_depth, config.max_selected_traj, config.max_retries,
        config.max_workers, config.number_of_seed, config.environment_mode, config.model_name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"environment_mode": "wbe"}, "did you mean 'web'"),
        ({"environment_mode": "my.module.of.mine"}, ""),
        ({"max_dept": 3}, "did you mean 'max_depth'"),
        ({"max_depth": 0}, "max_depth"),
        ({"max_workers": 0}, "max_workers"),
        ({"max_retries": 0}, "max_retries"),
        ({"number_of_seed": -3}, "number_of_seed"),
        ({"depth_threshold": -1}, "depth_threshold"),
        ({"min_depth": 6, "max_depth": 5}, "min_depth 6 is larger than max_depth 5"),
        ({"branching_factor": "two"}, "branching_factor"),
        ({"qa_examples": [{"question": "q"}]}, "answer"),
        ({"environment_mode": ""}, "environment"),
        ({"available_tools": "calculator"}, "available_tools"),
    ],
)
def test_a_wrong_config_is_refused_with_the_key_and_what_would_be_right(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(json.dumps(wrong))
    if not said:
        with pytest.raises(UsageError, match="PYTHONPATH"):
            open_environment(load_config(SynthesisConfig, tmp_path / "c.json"))
        return
    with pytest.raises(UsageError, match=said):
        load_config(SynthesisConfig, tmp_path / "c.json")


def test_a_tool_that_the_environment_lacks_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(UsageError, match="did you mean 'calculator'"):
        open_environment(SynthesisConfig(environment_mode="math", available_tools=["calculater"]))


def test_a_setting_that_the_environment_lacks_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(UsageError, match="did you mean 'web_search_top_k'"):
        open_environment(SynthesisConfig(environment_mode="web", environment_kwargs={"web_search_topk": 3}))


def test_a_corpus_folder_without_text_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(Exception, match="holds no text"):
        open_environment(SynthesisConfig(environment_mode="rag", environment_kwargs={"corpus": str(tmp_path)}))


def test_the_fingerprint_of_a_run_ignores_the_number_of_workers() -> None:
    from millrace.synthesis.work_shard import run_id_of

    assert run_id_of(SynthesisConfig(max_workers=1)) == run_id_of(SynthesisConfig(max_workers=8))
    assert run_id_of(SynthesisConfig(max_depth=4)) != run_id_of(SynthesisConfig(max_depth=5))


def test_the_originals_ways_to_store_a_config_give_it_back(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode="math", max_depth=7, seeds=tmp_path / "s.txt")
    assert SynthesisConfig.from_dict(config.to_dict()) == config
    config.to_json(tmp_path / "c.json")
    assert SynthesisConfig.from_json(tmp_path / "c.json") == config
    assert json.loads(config.to_json())["max_depth"] == 7


def test_the_options_of_the_originals_launcher_are_understood() -> None:
    from millrace.synthesis.runs.commands import as_ours

    assert as_ours(["--config", "c.json", "--seeds", "s.json", "--output-dir", "out"]) == [
        "--config", "c.json", "--set", "seeds=s.json", "--run-dir", "out",
    ]  # fmt: skip
    assert as_ours(["--seeds=s.json", "--output-dir=out"]) == ["--set", "seeds=s.json", "--run-dir=out"]
    assert as_ours(["trace", "run", "qa_1"]) == ["trace", "run", "qa_1"]


def test_auto_is_kept_as_it_is_and_starts_at_most_a_worker_for_each_core() -> None:
    config = SynthesisConfig(max_workers="auto")
    assert config.to_dict()["max_workers"] == "auto"
    assert 1 <= config.workers == config.workers_cluster.workers <= usable_cores()
    assert SynthesisConfig(max_workers=16).workers == 16
    with pytest.raises(ValueError, match="max_workers"):
        SynthesisConfig(max_workers="many")  # type: ignore[arg-type]


def test_a_seed_that_matched_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "s.txt").write_text("Transformer architecture\nFinland\n")
    run_serially(SynthesisConfig(environment_mode="web", seeds=tmp_path / "s.txt"), tmp_path / "run")
    assert "1 of 2 seeds say nothing that the environment web knows" in caplog.text
    assert "'Transformer architecture' →" in caplog.text
