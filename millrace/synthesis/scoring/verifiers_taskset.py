"""The rows of a run as a taskset of `verifiers` (v1): `MillraceTaskset(MillraceTasksetConfig(rows=RUN/dataset/rl.jsonl))`.

`verifiers` finds tasksets by the name of a top-level module. A file `my_taskset.py` beside yours with
`from millrace.synthesis.scoring.verifiers_taskset import *` makes `eval my-taskset --env.taskset.rows …` work.
Needs the package `verifiers` (0.4), which is no extra of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import orjson
from verifiers.v1.task import Task, TaskData
from verifiers.v1.taskset import Taskset, TasksetConfig
from verifiers.v1.trace import Trace
from verifiers.v1.utils.decorators import reward

from millrace.synthesis.scoring.reward import reward_of

__all__ = ["MillraceTaskset"]


class MillraceTasksetConfig(TasksetConfig):  # type: ignore[misc]
    """Which rows."""

    rows: Path
    """`dataset/rl.jsonl` of a run."""


class MillraceData(TaskData):  # type: ignore[misc]
    """A question, and what scores an answer to it."""

    answer: str
    verifier_args: str
    """JSON text: its fields differ from question to question."""


class MillraceTask(Task[MillraceData]):  # type: ignore[misc]
    """A question."""

    @reward(weight=1.0)  # type: ignore[untyped-decorator]
    async def right_answer(self, trace: Trace) -> float:
        """1.0 where the last reply answers the question."""
        return reward_of(self.data.verifier_args, trace.last_reply)


class MillraceTaskset(Taskset[MillraceTask, MillraceTasksetConfig]):  # type: ignore[misc]
    """The questions of a run."""

    def load(self) -> Iterator[MillraceTask]:
        """One task per row, in the file's order."""
        with self.config.rows.expanduser().open("rb") as lines:
            for line in lines:
                row = orjson.loads(line)
                data = MillraceData(
                    id=row["id"],
                    prompt=row["prompt"],
                    answer=row["answer"],
                    verifier_args=json.dumps(row["verifier_args"], ensure_ascii=False),
                )
                yield MillraceTask(data, self.config.task)
