"""Registering again, against a real server: what a person has changed there stays, what others have there is not touched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.register import register
from tests.e2e.services import Server

pytestmark = [pytest.mark.flow, pytest.mark.slow, pytest.mark.timeout(900)]


async def _change_things() -> None:
    from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
    from prefect.client.schemas.schedules import CronSchedule

    async with get_client() as client:
        full = await client.read_deployment_by_name("full/full")
        (nightly,) = full.schedules
        edited = CronSchedule(cron="30 5 * * 1", timezone="Asia/Shanghai")
        await client.update_deployment_schedule(full.id, nightly.id, active=True, schedule=edited)
        one_of_mine = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 12 * * *"), active=True)
        await client.create_deployment_schedules(full.id, [(one_of_mine.schedule, True)])
        synthesis = await client.read_deployment_by_name("synthesis/synthesis")
        await client.delete_deployment_schedule(synthesis.id, synthesis.schedules[0].id)
        change = DeploymentUpdate(paused=True, parameters={"run_dir": "runs/mine"}, job_variables={"env": {"A": "1"}})
        await client.update_deployment(synthesis.id, change)
        filtering = await client.read_deployment_by_name("filtering/filtering")
        moved = DeploymentUpdate(work_pool_name="millrace", work_queue_name="gpu", concurrency_limit=5)
        await client.update_deployment(filtering.id, moved)
        await client.update_deployment(full.id, DeploymentUpdate(concurrency_limit=None))
        queue = await client.read_work_queue_by_name("gpu", work_pool_name="millrace")
        await client.update_work_queue(queue.id, concurrency_limit=3)
        (automation,) = await client.read_automations_by_name("millrace-lost-cancels")
        await client.pause_automation(automation.id)


async def _seen() -> dict[str, Any]:
    async with get_client() as client:
        full = await client.read_deployment_by_name("full/full")
        synthesis = await client.read_deployment_by_name("synthesis/synthesis")
        filtering = await client.read_deployment_by_name("filtering/filtering")
        queue = await client.read_work_queue_by_name("gpu", work_pool_name="millrace")
        automations = {}
        for name in ("millrace-lost-runs", "millrace-lost-cancels"):
            (automations[name],) = await client.read_automations_by_name(name)
        ours = {f"prefect.deployment.{deployment.id}" for deployment in await client.read_deployments()}
        return {
            "schedules": sorted((one.schedule.cron, one.schedule.timezone, one.active) for one in full.schedules),
            "deleted": synthesis.schedules,
            "synthesis": (synthesis.paused, synthesis.parameters, synthesis.job_variables),
            "moved": (filtering.work_queue_name, filtering.global_concurrency_limit.limit),
            "unlimited": full.global_concurrency_limit,
            "limit": queue.concurrency_limit,
            "names of limits": sorted(limit.name for limit in await client.read_global_concurrency_limits(limit=200, offset=0)),
            "enabled": {name: automation.enabled for name, automation in automations.items()},
            "about": [set(one.trigger.match_related["prefect.resource.id"]) == ours for one in automations.values()],
        }


def test_what_a_person_changed_on_the_server_survives_the_next_registration(
    prefect_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_server.api)
    with temporary_settings({PREFECT_API_URL: prefect_server.api}):
        register()
        asyncio.run(_change_things())
        register()
        seen = asyncio.run(_seen())
    assert seen == {
        "schedules": [("0 12 * * *", None, True), ("30 5 * * 1", "Asia/Shanghai", True)],
        "deleted": [],
        "synthesis": (True, {"run_dir": "runs/mine"}, {"env": {"A": "1"}}),
        "moved": ("gpu", 5),
        "unlimited": None,
        "limit": 3,
        "names of limits": ["runs of compare", "runs of filtering", "runs of improve", "runs of probing", "runs of training"],
        "enabled": {"millrace-lost-runs": True, "millrace-lost-cancels": False},
        "about": [True, True],
    }
