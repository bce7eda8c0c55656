"""Tell a Prefect server about Millrace: its work pool and queues, its automations, its deployments.

    python -m deployments.register          # the server is PREFECT_API_URL's, or that of the active Prefect profile

May be run again at any time: what is there is brought up to date by its name, what others made is left alone. What a person has
changed on the server stays: schedules (switched on, edited, deleted, added), queue limits, automations switched off, and of a
deployment whether it is paused, its parameters, job variables, pool, queue and limit. To have one as it stands in prefect.yaml,
delete it there and run this again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import yaml

from millrace.errors import MillraceError, RunFailed, UsageError
from millrace.prefect_rest import configured_api

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

HERE = Path(__file__).parent
POOL = "millrace"
QUEUES: dict[str, int | None] = {"gpu": 1, "default": None}
"""The pool's queues and how many runs each lets go on at once: what needs the GPUs, or measures the machine, runs alone."""

KEPT = (
    "paused", "parameters", "job_variables", "concurrency_limit", "concurrency_options", "work_pool_name", "work_queue_name",
)  # fmt: skip
"""What of a deployment on the server stays as it is there."""


class DeploymentEntry(TypedDict):
    """What is read of an entry in prefect.yaml; all the rest is Prefect's."""

    name: str
    entrypoint: str


class PrefectFile(TypedDict):
    """What is read of prefect.yaml."""

    deployments: list[DeploymentEntry]


def register() -> list[str]:
    """Make or update everything on the configured server; returns the deployments' names.

    Raises:
        UsageError: no server is configured.
        RunFailed: the server refused something.
    """
    if not configured_api():
        raise UsageError("no Prefect server is configured: set PREFECT_API_URL, or start one with `make serve`")
    content: PrefectFile = yaml.safe_load((HERE / "prefect.yaml").read_text())
    names = [_full_name(entry) for entry in content["deployments"]]
    asyncio.run(_register_pool())
    before = asyncio.run(_deployments(names))
    _deploy(content, set(before))
    asyncio.run(_keep_what_was_changed(before))
    asyncio.run(_name_limits(names))
    asyncio.run(_register_automations(names))
    return names


def _full_name(entry: DeploymentEntry) -> str:
    return f"{entry['entrypoint'].rpartition('.')[2]}/{entry['name']}"


def _deploy(content: PrefectFile, known: set[str]) -> None:
    """Have Prefect make or update every deployment; the schedules of those that are there stay as they are."""
    entries = [
        {key: value for key, value in entry.items() if key != "schedules" or _full_name(entry) not in known}
        for entry in content["deployments"]
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump({**content, "deployments": entries}))
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
        done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RunFailed(f"the deployments could not be registered: {(done.stderr or done.stdout).strip()[-800:]}")


async def _deployments(names: list[str]) -> dict[str, DeploymentResponse]:
    """The deployments of these names that the server has."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    found: dict[str, DeploymentResponse] = {}
    async with get_client() as client:
        for name in names:
            with contextlib.suppress(ObjectNotFound):
                found[name] = await client.read_deployment_by_name(name)
    return found


async def _keep_what_was_changed(before: dict[str, DeploymentResponse]) -> None:
    """Put back what Prefect's own update resets: how a deployment is run is its server's people's decision."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentUpdate

    now = await _deployments(list(before))
    async with get_client() as client:
        for name, old in before.items():
            kept = {field: _field(old, field) for field in KEPT if _field(old, field) != _field(now[name], field)}
            if kept.keys() & {"work_pool_name", "work_queue_name"}:  # a queue is one of its pool
                kept |= {"work_pool_name": old.work_pool_name, "work_queue_name": old.work_queue_name}
            if kept:
                await client.update_deployment(old.id, DeploymentUpdate(**kept))


def _field(deployment: DeploymentResponse, field: str) -> Any:
    limit = deployment.global_concurrency_limit
    return (limit.limit if limit else None) if field == "concurrency_limit" else getattr(deployment, field)


async def _name_limits(names: list[str]) -> None:
    """Call the deployments' limits, which Prefect names by the deployments' ids, what they limit: `runs of full`."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate

    async with get_client() as client:
        for deployment in (await _deployments(names)).values():
            limit = deployment.global_concurrency_limit
            if limit is not None and limit.name == f"deployment:{deployment.id}":
                named = GlobalConcurrencyLimitUpdate(name=f"runs of {deployment.name}")
                await client.update_global_concurrency_limit(limit.name, named)


async def _register_pool() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists

    async with get_client() as client:
        with contextlib.suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=_template()))
        known = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=POOL)}
        for name, limit in QUEUES.items():
            if name not in known:
                queue = await client.create_work_queue(name=name, work_pool_name=POOL)
                await client.update_work_queue(queue.id, concurrency_limit=limit)


async def _register_automations(names: list[str]) -> None:
    """Make the automations, or bring them up to date; they are for the runs of these deployments and of no others."""
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore

    ours = [f"prefect.deployment.{deployment.id}" for deployment in (await _deployments(names)).values()]
    async with get_client() as client:
        for entry in yaml.safe_load((HERE / "automations.yaml").read_text())["automations"]:
            entry["trigger"]["match_related"]["prefect.resource.id"] = ours
            automation = AutomationCore.model_validate(entry)
            old = await client.read_automations_by_name(automation.name)
            if old:
                await client.update_automation(old[0].id, automation.model_copy(update={"enabled": old[0].enabled}))
            else:
                await client.create_automation(automation)


def _template() -> dict[str, Any]:
    from prefect.workers.process import ProcessWorker

    return ProcessWorker.get_default_base_job_template()


def main() -> int:
    """The command; returns its exit code."""
    argparse.ArgumentParser(prog="python -m deployments.register", description=__doc__.split("\n")[0]).parse_args()
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    try:
        names = register()
    except MillraceError as error:
        print(f"millrace: {error}", file=sys.stderr)  # noqa: T201 - the command's answer
        return error.exit_code
    print(f"{len(names)} deployments: {', '.join(names)}")  # noqa: T201 - the command's answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
