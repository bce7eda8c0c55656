"""Another model is asked exactly what the run's own was asked."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from millrace.errors import InputError, MillraceError, UsageError
from millrace.probing.asking_again.another_model import config_for, probe_another
from millrace.probing.settings import LakeSettings, ProbingConfig
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


class Wanted(NamedTuple):
    """Images to ask about."""

    path: Path | None = None
    images: int = 10
    seed: int = 3
    recipe: str | None = None


@pytest.mark.parametrize(
    ("wanted", "words", "said"),
    [
        (Wanted(recipe="rear"), {}, "no embedded lake of the kind 'rear'; did you mean 'rare'"),
        (Wanted(path=Path("/no/such/lake")), {}, "/no/such/lake"),
        (Wanted(), {"counting": "[COUNT]"}, "no claim 'counting' in use"),
        (Wanted(), {"counting_object_instances": "[COUNT] things"}, "must have exactly the slots OBJECT_TYPE, COUNT"),
    ],
)
def test_another_way_to_ask_is_refused_before_anything_is_drawn(wanted: Wanted, words: dict[str, str], said: str) -> None:
    probing = ProbingConfig().model_dump(mode="json")
    with pytest.raises(MillraceError, match=said):
        AskAnother().check_way(wanted, words, probing)


def test_a_lake_is_of_the_kind_that_was_probed_where_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[LakeSettings] = []
    monkeypatch.setattr("millrace.probing.stage.prepared_lake", lambda settings, run: drawn.append(settings))
    probing = ProbingConfig.model_validate({"lake": {"recipe": "rare"}}).model_dump(mode="json")
    AskAnother().lake(Wanted(), probing, None)  # type: ignore[arg-type]
    AskAnother().lake(Wanted(recipe="foreign"), probing, None)  # type: ignore[arg-type]
    assert [one.recipe for one in drawn] == ["rare", "foreign"]
