"""The checkpoint's work as Prefect tasks: how each is named in the UI."""

from __future__ import annotations

from millrace.checkpoint import compare, convert, verify
from millrace.orchestration.prefect_tasks import shard_task, step_task

verify_part = shard_task(verify.verify_part, "verify {part.name}")
read_checkpoint = step_task(compare.read_checkpoint, "read the checkpoint")
convert_checkpoint = step_task(convert.convert_checkpoint, "convert the checkpoint")
compare_readers = step_task(compare.compare_readers, "compare the readers")
