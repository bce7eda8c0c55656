"""Metadata that could not be read, for `dcp.load`, which would turn the error into another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.metadata import Metadata

from millrace.checkpoint.problems import CheckpointError


class UnreadMetadata(Metadata):
    """Raises the error for which there is no metadata as soon as anything of it is asked for."""

    def __init__(self, error: CheckpointError) -> None:
        object.__setattr__(self, "_error", error)

    def error(self) -> CheckpointError:
        """Why there is none."""
        found: CheckpointError = object.__getattribute__(self, "_error")
        return found

    def __getattribute__(self, name: str) -> Any:
        if name in Metadata.__dataclass_fields__:
            raise object.__getattribute__(self, "_error")
        return object.__getattribute__(self, name)


def why_no_metadata(folder: Path | None, error: OSError) -> str:
    """What to say of a checkpoint whose metadata file gave this error. `folder` is None for one behind a URL."""
    if folder is None or not isinstance(error, FileNotFoundError):
        return f"cannot be read: {error.strerror or error}"
    if not folder.exists():
        return "there is no such folder"
    if any(folder.glob("*.distcp")):
        return "missing although there are data files: the checkpoint is still being written, or its writer was stopped"
    return "missing: this folder holds no checkpoint"
