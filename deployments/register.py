"""Tell a Prefect server about Millrace: its work pool and queues, its automations, its deployments.

    python -m deployments.register          # the server is PREFECT_API_URL's, or that of the active Prefect profile

May be run again at any time: what is there is brought up to date by its name, what others made is left alone. A schedule that
somebody has switched on stays on.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from millrace.errors import MillraceError, RunFailed, UsageError
from millrace.prefect_rest import configured_api

HERE = Path(__file__).parent
POOL = "millrace"
QUEUES: dict[str, int | None] = {"gpu": 1, "default": None}
"""The pool's queues and how many runs each lets go on at once: what needs the GPUs, or measures the machine, runs alone."""


def register() -> list[str]:
    """Make or update everything on the configured server; returns the deployments' names.

    Raises:
        UsageError: no server is configured.
        RunFailed: the server refused something.
    """
    if not configured_api():
        raise UsageError("no Prefect server is configured: set PREFECT_API_URL, or start one with `make serve`")
    asyncio.run(_register_pool_and_automations())
    file = HERE / "prefect.yaml"
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RunFailed(f"the deployments could not be registered: {(done.stderr or done.stdout).strip()[-800:]}")
    entries: list[dict[str, Any]] = yaml.safe_load(file.read_text())["deployments"]
    return [f"{entry['entrypoint'].rpartition('.')[2]}/{entry['name']}" for entry in entries]


async def _register_pool_and_automations() -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.events.schemas.automations import AutomationCore
    from prefect.exceptions import ObjectAlreadyExists

    async with get_client() as client:
        with contextlib.suppress(ObjectAlreadyExists):
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=_template()))
        known = {queue.name: queue for queue in await client.read_work_queues(work_pool_name=POOL)}
        for name, limit in QUEUES.items():
            queue = known.get(name) or await client.create_work_queue(name=name, work_pool_name=POOL)
            await client.update_work_queue(queue.id, concurrency_limit=limit)
        for entry in yaml.safe_load((HERE / "automations.yaml").read_text())["automations"]:
            automation = AutomationCore.model_validate(entry)
            old = await client.read_automations_by_name(automation.name)
            if old:
                await client.update_automation(old[0].id, automation)
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
