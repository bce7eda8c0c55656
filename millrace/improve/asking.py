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


class AsksOthers(Protocol):
    """Asks models what a run asked its own."""

    def settings(self, run_dir: Path) -> dict[str, Any]:
        """How the run asked; raises InputError where nothing says so."""
        ...

    def check_model(self, probing: Mapping[str, Any], model: Mapping[str, Any]) -> None:
        """Raises UsageError for what is no model."""
        ...

    def lake(self, path: Path | None, images: int, seed: int, run: RunContext) -> Path:
        """The folder of test images, made if need be."""
        ...

    def function(self) -> Ask:
        """What is mapped over models."""
        ...
