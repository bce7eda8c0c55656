"""The deployments: every flow is there, by a module path that loads, with a form that explains itself."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.flows import Flow

from millrace.plugins.loading import plugin_names

ROOT = Path(__file__).parents[2]
DEPLOYMENTS: list[dict[str, Any]] = yaml.safe_load((ROOT / "deployments" / "prefect.yaml").read_text())["deployments"]


def test_every_flow_has_a_deployment() -> None:
    flows = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert {entry["name"] for entry in DEPLOYMENTS} == flows


def test_what_prefect_finds_at_the_root_is_what_is_registered() -> None:
    """`prefect deploy --all` without a file reads `prefect.yaml` of the folder it is called in."""
    assert (ROOT / "prefect.yaml").resolve() == (ROOT / "deployments" / "prefect.yaml").resolve()


@pytest.mark.parametrize("entry", DEPLOYMENTS, ids=lambda entry: str(entry["name"]))
def test_an_entrypoint_is_a_flow_with_a_default_and_a_help_text_for_every_setting(entry: dict[str, Any]) -> None:
    module, _, name = entry["entrypoint"].rpartition(".")
    flow = getattr(importlib.import_module(module), name)
    assert isinstance(flow, Flow)
    schema = flow.parameters.model_dump()
    assert not schema["required"], "quick run must work without filling anything in"
    silent = [
        f"{kind}.{key}"
        for kind, part in schema["definitions"].items()
        for key, field in part.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert not silent


def test_plug_ins_are_offered_in_the_form_with_their_own_settings_and_room_for_ones_own() -> None:
    schema = importlib.import_module("flows.full").full.parameters.model_dump()["definitions"]
    baseline = schema["ProbingConfig"]["properties"]["baseline"]["anyOf"]
    names = plugin_names("millrace.probing.baselines")
    assert [form["title"] for form in baseline] == ["embedded", *(name for name in names if name != "embedded"), "your own"]
    assert "scenes" in baseline[0]["properties"]
    provider = schema["ModelSettings"]["properties"]["provider"]["anyOf"]
    assert provider[0]["enum"] == plugin_names("millrace.llm.providers")
    assert provider[1]["type"] == "string"
    assert schema["ModelSettings"]["properties"]["timeout_s"]["title"] == "Timeout (s)"


def test_schedules_are_switched_off_and_their_run_folders_are_told_apart_by_day() -> None:
    schedules = [schedule for entry in DEPLOYMENTS for schedule in entry.get("schedules", [])]
    assert {schedule["slug"] for schedule in schedules} == {"nightly", "weekly", "hourly"}
    for schedule in schedules:
        assert schedule["active"] is False
        # synthesis goes on with new seeds in one folder; the others would find theirs finished
        assert ("{date}" in schedule["parameters"]["run_dir"]) == (schedule["slug"] != "hourly")


AUTOMATIONS: list[dict[str, Any]] = yaml.safe_load((ROOT / "deployments" / "automations.yaml").read_text())["automations"]


@pytest.mark.parametrize("entry", AUTOMATIONS, ids=lambda entry: str(entry["name"]))
def test_an_automation_is_about_the_runs_of_our_deployments_and_as_shipped_about_none(entry: dict[str, Any]) -> None:
    from prefect.server.events.schemas.automations import EventTrigger
    from prefect.server.events.schemas.events import RelatedResource, Resource

    run = Resource.model_validate({"prefect.resource.id": "prefect.flow-run.1"})

    def related(**labels: str) -> list[RelatedResource]:
        return [RelatedResource.model_validate({f"prefect.resource.{key}": value for key, value in labels.items()})]

    ours, theirs = (related(role="deployment", id=f"prefect.deployment.{name}") for name in ("ours", "theirs"))
    shipped = EventTrigger.model_validate(entry["trigger"])
    assert not any(shipped.covers_resources(run, each) for each in (ours, theirs, []))
    entry["trigger"]["match_related"]["prefect.resource.id"] = ["prefect.deployment.ours"]  # as `register` does
    registered = EventTrigger.model_validate(entry["trigger"])
    assert registered.covers_resources(run, ours)
    assert not registered.covers_resources(run, theirs)
    assert not registered.covers_resources(run, related(role="flow", id="prefect.deployment.ours"))
    assert not registered.covers_resources(run, [])


def test_a_paused_or_suspended_run_is_not_taken_for_a_lost_one() -> None:
    from prefect.server.events.schemas.automations import EventTrigger

    lost = EventTrigger.model_validate(next(entry for entry in AUTOMATIONS if entry["name"] == "millrace-lost-runs")["trigger"])
    for state in ("Paused", "Suspended", "TimedOut", "Completed", "Failed", "Cancelled", "Crashed", "heartbeat"):
        assert lost.expects(f"prefect.flow-run.{state}"), state
    assert lost.expects("millrace.flow-run.suspended")
    assert not lost.expects("prefect.flow-run.Running")
    assert not lost.starts_after("prefect.flow-run.Suspended")


def test_a_run_that_leaves_because_it_is_suspended_says_so_after_its_last_heartbeat(tmp_path: Path, monkeypatch) -> None:
    from types import SimpleNamespace

    from prefect.context import FlowRunContext
    from prefect.exceptions import Pause

    from millrace.orchestration import cancellation

    said: list[dict[str, Any]] = []
    run = SimpleNamespace(id="1", name="a run", deployment_id="ours")
    monkeypatch.setattr(FlowRunContext, "get", lambda: SimpleNamespace(flow_run=run))
    monkeypatch.setattr(cancellation.CancelWatch, "start", lambda self: None)
    monkeypatch.setattr(cancellation.CancelWatch, "close", lambda self: None)
    monkeypatch.setattr("prefect.events.emit_event", lambda **event: said.append(event))
    with pytest.raises(Pause), cancellation.obeying_cancel(tmp_path / "log"):
        raise Pause
    with cancellation.obeying_cancel(tmp_path / "log"):
        pass
    (event,) = said
    assert event["event"] == "millrace.flow-run.suspended"
    assert event["resource"]["prefect.resource.id"] == "prefect.flow-run.1"
    assert event["related"][0]["prefect.resource.id"] == "prefect.deployment.ours"
