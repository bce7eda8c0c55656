"""Seeds and model failures → verified training data.

    import millrace

    run = millrace.probe("runs/mine", images="photos/", sample_size=200)
    millrace.select_failures("runs/mine", quota=50)
    run = millrace.write_questions("runs/mine")
    run.items().to_pandas()

Everything here is imported when it is first used: `import millrace` takes milliseconds and brings no torch, no Prefect.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.api import compare_runs, find_failures, probe, select_failures, synthesize, write_questions
    from millrace.run.results import RunResults, open_run

_PLACES = {
    "probe": "millrace.api",
    "select_failures": "millrace.api",
    "write_questions": "millrace.api",
    "find_failures": "millrace.api",
    "compare_runs": "millrace.api",
    "synthesize": "millrace.api",
    "open_run": "millrace.run.results",
    "RunResults": "millrace.run.results",
}

__all__ = [
    "RunResults",
    "compare_runs",
    "find_failures",
    "open_run",
    "probe",
    "select_failures",
    "synthesize",
    "write_questions",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'millrace' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
