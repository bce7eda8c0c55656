"""Synthesis as Prefect tasks: the same names as the functions they wrap, and nothing more than the wrapping."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from tasks.llm.run_chats import ledger_of_run
from tasks.progress import Stage
from tasks.synthesis import plan as planning
from tasks.synthesis import run, shard
from tasks.synthesis.config import SynthesisConfig
from tasks.synthesis.live import Pace, markdown
from tasks.synthesis.plan import Plan
from tasks.synthesis.report import SynthesisReport, as_markdown
from tasks.synthesis.tally import FOLDER, Tallies
from tasks.timeline import timed


@task(task_run_name="plan the shards", cache_policy=NO_CACHE)
def plan_shards(config: SynthesisConfig, folder: Path) -> Plan:
    """See `tasks.synthesis.plan.plan_shards`."""
    return planning.plan_shards(config, folder)


@task(task_run_name="synthesise {plan.stem}", cache_policy=NO_CACHE)
@timed
def synthesise_shard(config: SynthesisConfig, plan: Path, path: Path, launch: str) -> dict[str, int]:
    """See `tasks.synthesis.shard.synthesise_shard`."""
    return shard.synthesise_shard(config, plan, path, launch)


@task(task_run_name="assemble the dataset", cache_policy=NO_CACHE)
def finish_run(config: SynthesisConfig, plan: Plan, folder: Path) -> dict[str, Any]:
    """See `tasks.synthesis.run.finish_run`."""
    return run.finish_run(config, plan, folder)


def progress_of(plan: Plan) -> int:
    """A number that grows whenever a shard, finished or not, has one more record or one more try."""
    folder = plan.ledger.parent / "shards"
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) if folder.exists() else 0


@contextlib.contextmanager
def shown_live(plan: Plan, stage: Stage, run_dir: Path) -> Iterator[None]:
    """Keep the bar and an artifact up to date while the block runs, from what the workers leave in the run's folder."""
    context = contextvars.copy_context()  # the artifact belongs to the flow run of this thread
    ended = threading.Event()
    live = Live(plan, stage, run_dir)
    thread = threading.Thread(target=context.run, args=(live.watch, ended), name="live", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:  # Ctrl-C for instance: nobody waits for an API now
        ended.set()
        thread.join(timeout=1)
        raise
    ended.set()
    thread.join(timeout=10)
    live.look()
    live.publish()


class Live:
    """Accept rate by reason, throughput, cost and time left: one artifact, renewed while the run goes on."""

    LOOK_EVERY_S = 1.0
    PUBLISH_EVERY_S = 5.0

    def __init__(self, plan: Plan, stage: Stage, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.stage = stage
        self.tallies = Tallies(plan.ledger.parent / FOLDER)
        self.counts = self.tallies.read()
        self.pace = Pace(plan.seeds, self.counts["seeds"])
        self._artifact: UUID | None = None

    def watch(self, ended: threading.Event) -> None:
        """Look and publish until `ended` is set."""
        published = time.monotonic()
        while not ended.wait(self.LOOK_EVERY_S):
            self.look()
            if time.monotonic() - published >= self.PUBLISH_EVERY_S:
                self.publish()
                published = time.monotonic()

    def look(self) -> None:
        """Read how far the workers are."""
        with contextlib.suppress(OSError):
            self.counts = self.tallies.read()
        self.pace.update(self.counts["seeds"])
        with contextlib.suppress(KeyError):  # the bar is gone: the run has ended in the meantime
            self.stage.update(min(self.counts["seeds"], self.pace.seeds))

    def publish(self) -> None:
        """Renew the artifact. What goes wrong here ends nothing: the folder, not the API, is the truth of a run."""
        with contextlib.suppress(Exception):
            text = markdown(self.counts, self.pace, ledger_of_run(self.run_dir))
            if self._artifact is None:
                made: Any = create_markdown_artifact(text, key="synthesis-live", description="Synthesis so far")
                self._artifact = made
            else:
                with get_client(sync_client=True) as client:
                    client.update_artifact(self._artifact, ArtifactUpdate(data=text))


def publish_report(data: SynthesisReport, folder: Path) -> None:
    """Show the report's findings and the reasons of rejection as artifacts in the Prefect UI."""
    create_markdown_artifact(as_markdown(data, folder), key="synthesis-report", description="What came of the seeds")
    create_table_artifact(data.rejections(), key="synthesis-rejections", description="Why candidates were rejected")
