"""Metadata that could not be read, for `dcp.load`, which would turn the error into another one."""

from __future__ import annotations

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
