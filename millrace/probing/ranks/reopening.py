"""Units whose replies broke off are taken up again when the limits have been raised since: only for the images that it concerns.

The replies that came to their own end are in the journal of paid replies and are not paid for again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from millrace.errors import MillraceError
from millrace.llm.limits import CUT_OFF, gives_more_room
from millrace.probing.baselines import baseline_settings
from millrace.probing.judges import judge_settings
from millrace.records.outcome import PROBED_CLAIM, DroppedClaim, ProbedClaim
from millrace.run.journal import read_json, read_records, reopen_journal


def concerned_units(work: Path, now: Mapping[str, Any]) -> Iterator[tuple[Path, set[int]]]:
    """The finished units in which a reply broke off at a limit that is higher now, each with the rows of the images concerned.

    Args:
        work: the stage's `work/`, with the `worker.json` of the last attempt in it.
        now: the probing config of this attempt.
    """
    try:
        before = read_json(work / "worker.json")["config"]
        raised = gives_more_room(baseline_settings(before["baseline"]), baseline_settings(now["baseline"])) or gives_more_room(
            judge_settings(before["judge"]), judge_settings(now["judge"])
        )
    except (OSError, MillraceError, ValueError, KeyError, TypeError):
        return  # there was no attempt before, or one of another version
    for path in sorted(work.glob("unit-*.jsonl")) if raised else ():
        rows = {record.image.row for record in read_records(path, PROBED_CLAIM) if _broke_off(record)}
        if rows:
            yield path, rows


def reopen_cut_off(work: Path, now: Mapping[str, Any]) -> int:
    """Reopen the finished units in which a reply broke off, if a limit has been raised; returns how many."""
    return sum(_reopen(path, rows) for path, rows in list(concerned_units(work, now)))


def _reopen(path: Path, rows: set[int]) -> bool:
    return reopen_journal(path, PROBED_CLAIM, lambda record: record.image.row in rows)


def _broke_off(record: ProbedClaim) -> bool:
    """Whether the reply to a claim broke off, a judge's vote on it, or the choice of what it should be about."""
    if isinstance(record, DroppedClaim):
        return record.reason == CUT_OFF
    missing = (record.judge.missing or {}) if record.judge is not None else {}
    return CUT_OFF in (record.outcome, *missing.values())
