"""Another model is asked exactly what the run's own was asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.errors import InputError, UsageError
from millrace.probing.another_model import config_for, probe_another
from millrace.probing.settings import ProbingConfig
from millrace.probing.stage import AskAnother
from millrace.records.summaries import ProbingSummary
from millrace.run.journal import write_json

OWN = ProbingConfig.model_validate({"seed": 9, "claims": "default", "enabled_claims": [], "target_failure_count": 50})


def test_only_the_model_and_the_images_differ() -> None:
    config = config_for(OWN.model_dump(mode="json"), {"name": "guess", "seed": 3}, 40)
    changed = {name for name in ProbingConfig.model_fields if getattr(config, name) != getattr(OWN, name)}
    assert changed == {"baseline", "target_failure_count", "sample_size", "torchrun"}
    assert (config.sample_size, config.target_failure_count, config.baseline["name"]) == (40, None, "guess")
    assert config.torchrun.nproc_per_node == 1


def test_how_a_run_asked_is_read_from_its_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"probing": OWN.model_dump(mode="json")})
    assert AskAnother().settings(tmp_path)["seed"] == 9


def test_a_folder_without_a_probing_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no probing in"):
        AskAnother().settings(tmp_path)


def test_settings_of_an_unknown_shape_are_said_with_the_file(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"probing": {"sample_size": -1}})
    with pytest.raises(UsageError, match=r"config\.json.*sample_size"):
        AskAnother().settings(tmp_path)


def test_what_is_asked_already_is_not_asked_again(tmp_path: Path) -> None:
    found = ProbingSummary(
        stop="exhausted", images=5, came_in=5, went_out=5, failures=0, dropped={}, outcomes={}, claims={}, factors={}, shards=1
    )
    write_json(tmp_path / "summary.json", found)
    assert probe_another(OWN.model_dump(mode="json"), {"name": "no such"}, tmp_path, 5, tmp_path, tmp_path) == found


def test_a_model_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="no baseline named 'embeded'"):
        AskAnother().check_model({}, {"name": "embeded"})
