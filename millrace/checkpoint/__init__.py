"""Reads `torch.distributed.checkpoint` and safetensors folders fast and without running foreign code.

    from millrace.checkpoint import ParallelFileSystemReader, load

Both are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.checkpoint.direct.state_load import load
    from millrace.checkpoint.problems import CheckpointError, UntrustedCheckpoint
    from millrace.checkpoint.reader import ParallelFileSystemReader

_PLACES = {
    "load": "millrace.checkpoint.direct.state_load",
    "ParallelFileSystemReader": "millrace.checkpoint.reader",
    "CheckpointError": "millrace.checkpoint.problems",
    "UntrustedCheckpoint": "millrace.checkpoint.problems",
}

__all__ = ["CheckpointError", "ParallelFileSystemReader", "UntrustedCheckpoint", "load"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'millrace.checkpoint' has no attribute '{name}'")
