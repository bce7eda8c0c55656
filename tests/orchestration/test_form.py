"""A flow's parameters in Prefect's run form: a config by name, the few settings that change, everything else."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from millrace.config import find_config, fingerprint_of, load_config, shipped_configs
from millrace.errors import UsageError
from millrace.orchestration.form import settings_type, settled

FLOWS = ["checkpoint", "compare", "filtering", "full", "improve", "probing", "qa", "synthesis", "training"]


def settled_by(flow: str, **parameters: Any) -> Any:
    """The settings of the run that these parameters make."""
    prefect_flow = getattr(importlib.import_module(f"flows.{flow}"), flow)
    given = {"config": "default", "settings": {}, "advanced": {}, "run_dir": "runs/x", **parameters}
    read = prefect_flow.validate_parameters(given)
    return settled(
        prefect_flow.definition.name, prefect_flow.definition.config, read["config"], read["settings"], read["advanced"]
    )


@pytest.mark.parametrize("flow", FLOWS)
def test_a_form_that_was_not_touched_runs_the_defaults(flow):
    made = settled_by(flow)
    assert fingerprint_of(made) == fingerprint_of(type(made)())


@pytest.mark.parametrize("flow", FLOWS)
def test_a_run_that_is_given_no_parameters_runs_the_defaults(flow):
    prefect_flow = getattr(importlib.import_module(f"flows.{flow}"), flow)
    read = prefect_flow.validate_parameters({})
    made = settled(flow, prefect_flow.definition.config, read["config"], read["settings"], read["advanced"])
    assert fingerprint_of(made) == fingerprint_of(prefect_flow.definition.config())


@pytest.mark.parametrize("flow", FLOWS)
def test_the_form_opens_on_the_names_of_the_flows_configs(flow):
    properties = getattr(importlib.import_module(f"flows.{flow}"), flow).parameters.model_dump()["properties"]
    names, file, whole = properties["config"]["anyOf"]
    assert set(names["enum"]) == {"default", *shipped_configs(flow)}
    assert names["enum"][0] == properties["config"]["default"] == "default"
    assert (file["type"], whole["title"]) == ("string", "every setting")
    assert list(properties) == ["config", "settings", "advanced", "run_dir"]


def test_a_config_by_name_with_settings_on_top_and_the_advanced_ones_last():
    quick = load_config(type(settled_by("full")), find_config("full", Path("quick")))
    made = settled_by(
        "full",
        config="quick",
        settings={"probing__sample_size": 7, "cluster__workers": 3},
        advanced={"probing": {"sample_size": 8, "target_failure_count": None}, "qa": {"seed": 5}},
    )
    assert (made.probing.sample_size, made.cluster.workers, made.qa.seed) == (8, 3, 5)
    assert made.probing.target_failure_count is None
    assert made.probing.lake.images == quick.probing.lake.images
    assert settled_by("full", config="quick") == quick


def test_whole_settings_are_taken_as_before_and_so_is_a_mapping():
    whole = settled_by("full", config={"probing": {"sample_size": 9}}, settings={"qa__language": "zh"})
    assert (whole.probing.sample_size, whole.qa.language) == (9, "zh")
    assert settled_by("full", config=whole) == whole


def test_a_folder_of_the_users_own_configs_is_found_by_name(tmp_path, monkeypatch):
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa/ours.yaml").write_text("qa: {items_per_failure: 4}\n")
    (tmp_path / "qa/chinese.yaml").write_text("qa: {language: en, seed: 77}\n")
    monkeypatch.setenv("MILLRACE_CONFIGS", str(tmp_path))
    assert "ours" in shipped_configs("qa")
    assert settled_by("qa", config="ours").qa.items_per_failure == 4
    assert settled_by("qa", config="chinese").qa.seed == 77
    assert settled_by("qa", config=str(tmp_path / "qa/ours.yaml")).qa.items_per_failure == 4


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"config": "quik"}, "did you mean 'quick'"),
        ({"config": "/no/such.yaml"}, "there is no config file"),
        ({"advanced": {"probing": {"sampel_size": 3}}}, r"unknown key 'probing\.sampel_size'; did you mean 'sample_size'"),
        ({"advanced": {"probing": {"sample_size": "many"}}}, r"'probing\.sample_size'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(parameters, message):
    with pytest.raises(UsageError, match=message):
        settled_by("full", **parameters)


def test_a_setting_that_is_none_is_found_when_the_flow_is_made():
    config = type(settled_by("qa"))
    with pytest.raises(TypeError, match="has no setting langage"):
        settings_type("qa", config, ["qa.langage"])


@pytest.mark.parametrize("flow", FLOWS)
def test_every_setting_that_changes_often_has_its_help(flow):
    schema = getattr(importlib.import_module(f"flows.{flow}"), flow).parameters.model_dump()
    fields = schema["definitions"][f"{flow.title()}RunSettings"]["properties"]
    assert fields
    assert all(field["description"] and field["title"] == name.replace("__", ".") for name, field in fields.items())
