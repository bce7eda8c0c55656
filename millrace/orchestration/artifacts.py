"""What a run shows of itself in the Prefect UI. Showing never ends a run: the folder, not the API, is the truth of it."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from millrace.run.progress import Stage

EVERY_S = 2.0
"""The UI polls; an update costs an HTTP call of some 10 ms."""


class ProgressArtifacts:
    """A progress artifact for each stage of a run: what `Progress(on_show=…)` calls whenever a count changes.

    Made in the flow that the artifacts belong to: stages are subflows, and counts may come from other threads.

    Args:
        title: the flow's name, the first part of each artifact's key.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._context = contextvars.copy_context()
        self._artifacts: dict[Stage, UUID] = {}
        self._shown_at: dict[Stage, float] = {}

    def __call__(self, stage: Stage, final: bool) -> None:
        """Bring the artifact of `stage` up to date, at most every `EVERY_S`; the last count (`final`) is always shown."""
        if not final and time.monotonic() - self._shown_at.get(stage, stage.started) <= EVERY_S:
            return
        self._shown_at[stage] = time.monotonic()
        self._context.copy().run(self._show, stage)

    def _show(self, stage: Stage) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        share = min(100.0, 100.0 * stage.done / stage.total) if stage.total else 0.0
        text = f"{stage.name}: {stage.done:,} of {stage.total:,} {stage.unit}"
        with contextlib.suppress(Exception):
            if stage not in self._artifacts:
                key = f"{self.title}-{stage.name}".lower().replace(" ", "-").replace("_", "-")
                created: Any = create_progress_artifact(progress=share, key=key, description=text)
                self._artifacts[stage] = created
            else:
                changed: Any = update_progress_artifact(artifact_id=self._artifacts[stage], progress=share, description=text)
                del changed


class LiveArtifact:
    """One Markdown artifact that is renewed while a run goes on.

    Args:
        key: its key in Prefect.
        description: its title there.
    """

    def __init__(self, key: str, description: str) -> None:
        self.key = key
        self.description = description
        self._artifact: UUID | None = None

    def show(self, text: str) -> None:
        """Renew the artifact."""
        from prefect.artifacts import create_markdown_artifact
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.actions import ArtifactUpdate

        with contextlib.suppress(Exception):
            if self._artifact is None:
                made: Any = create_markdown_artifact(text, key=self.key, description=self.description)
                self._artifact = made
            else:
                with get_client(sync_client=True) as client:
                    client.update_artifact(self._artifact, ArtifactUpdate(data=text))


def show_markdown(key: str, text: str, description: str) -> None:
    """Keep a text with the flow run."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(text, key=key, description=description)


def show_table(key: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Keep a table, a mapping for each row, with the flow run."""
    from prefect.artifacts import create_table_artifact

    create_table_artifact([dict(row) for row in rows], key=key, description=description)
