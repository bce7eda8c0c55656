"""What improving needs of probing: how the run's model was asked, and a way to ask others the same. Domains don't import each
other: the flow hands it in. `millrace.probing.stage.AskAnother` is the one for `millrace.probing`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from millrace.run.context import RunContext

Ask = Callable[[Mapping[str, Any], Mapping[str, Any], Path, int, Path, Path], object]
"""(how the run asked, model, lake, images, folder, logs) → the probing's summary."""


class WantedLake(Protocol):
    """Which images to ask about."""

    @property
    def path(self) -> Path | None:
        """A folder of parquet files; None: an embedded lake."""
        ...

    @property
    def images(self) -> int:
        """In the embedded lake."""
        ...

    @property
    def seed(self) -> int:
        """Of the embedded lake."""
        ...

    @property
    def recipe(self) -> str | None:
        """Kind of the embedded lake."""
        ...


class AsksOthers(Protocol):
    """Asks models what a run asked its own."""

    def settings(self, run_dir: Path) -> dict[str, Any]:
        """How the run asked; raises InputError where nothing says so."""
        ...

    def check_model(self, probing: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """Raises UsageError for what is no model."""
        ...

    def check_way(self, wanted: WantedLake, wordings: Mapping[str, str], probing: Mapping[str, Any]) -> None:
        """Raises UsageError or InputError for images that cannot be had, and for sentences that are none of the claims'."""
        ...

    def lake(self, wanted: WantedLake, probing: Mapping[str, Any], run: RunContext) -> Path:
        """The folder of test images, made if need be: of the kind that was probed, where none is named."""
        ...

    def function(self) -> Ask:
        """What is mapped over models."""
        ...
