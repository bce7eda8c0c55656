"""What a flow run is called in Prefect."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prefect.context import FlowRunContext
from prefect.utilities.names import generate_slug

from millrace.orchestration.run_name import is_made_up, run_name


def name_of(monkeypatch: pytest.MonkeyPatch, given: str, *, deployed: bool = True, scheduled: bool = False) -> str:
    run = SimpleNamespace(name=given, deployment_id="ours" if deployed else None, auto_scheduled=scheduled)
    context = SimpleNamespace(flow=SimpleNamespace(name="full"), flow_run=run, parameters={"run_dir": "runs/mine"})
    monkeypatch.setattr(FlowRunContext, "get", lambda: context)
    return run_name()


@pytest.mark.parametrize("typed", ["baseline of Monday", "night-run", "full", "second-try", "lr 0.1", "2026-11-30", "otter"])
def test_a_name_that_a_person_typed_is_kept(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_of(monkeypatch, typed) == typed


def test_a_run_without_a_name_of_its_own_is_called_after_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert name_of(monkeypatch, generate_slug(2)) == "full in runs/mine"
    assert name_of(monkeypatch, "anything", deployed=False) == "full in runs/mine"
    assert name_of(monkeypatch, "anything", scheduled=True) == "full in runs/mine"


def test_every_name_that_prefect_makes_up_is_known_as_such() -> None:
    assert [name for name in (generate_slug(2) for _ in range(500)) if not is_made_up(name)] == []
