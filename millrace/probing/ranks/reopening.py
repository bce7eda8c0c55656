"""Units whose replies broke off are taken up again when the limits have been raised since: only for the images that it concerns.

The replies that came to their own end are in the journal of paid replies and are not paid for again.
Covers: a stage that is not finished. Does not cover: a finished run, which stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from millrace.errors import MillraceError
from millrace.probing.baselines import baseline_settings
from millrace.probing.judges import judge_settings
from millrace.run.journal import PART, read_json, read_jsonl, write_jsonl

LIMITS = ("max_tokens", "longest_answer")
"""The fields that say how long an answer may be."""

CUT_OFF = "cut_off"


def reopen_cut_off(work: Path, now: Mapping[str, Any]) -> int:
    """Reopen the finished units in which a reply broke off, if a limit has been raised; returns how many.

    Args:
        work: the stage's `work/`, with the `worker.json` of the last attempt in it.
        now: the probing config of this attempt.
    """
    try:
        before = read_json(work / "worker.json")["config"]
        raised = any(new > old for old, new in zip(_limits(before), _limits(now), strict=True))
    except (OSError, MillraceError, ValueError, KeyError, TypeError):
        return 0  # there was no attempt before, or one of another version
    return sum(_reopen(path) for path in sorted(work.glob("unit-*.jsonl"))) if raised else 0


def _limits(config: Mapping[str, Any]) -> list[int]:
    parts = (baseline_settings(config["baseline"]), judge_settings(config["judge"]))
    return [limit for part in parts for limit in _limits_in(part)]


def _limits_in(settings: BaseModel) -> Iterator[int]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if name in LIMITS:
            yield value
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, BaseModel):
                yield from _limits_in(part)


def _reopen(path: Path) -> bool:
    records = list(read_jsonl(path))
    concerned = {record["image"]["row"] for record in records if _broke_off(record)}
    if not concerned:
        return False
    part = path.with_name(path.name + PART)
    write_jsonl(part, (record for record in records if record["image"]["row"] not in concerned))
    path.unlink()  # from here on the unit is an unfinished one; before, it was a finished one
    return True


def _broke_off(record: Mapping[str, Any]) -> bool:
    """Whether the reply to a claim broke off, a judge's vote on it, or the choice of what it should be about."""
    missing_votes = ((record.get("judge") or {}).get("missing") or {}).values()
    return CUT_OFF in (record.get("outcome"), record.get("reason"), *missing_votes)
