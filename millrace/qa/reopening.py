"""More room for what broke off while questions were written, answered and put to the baseline: only the shards that it concerns.

What came to its own end is in the journal of paid replies and is not paid for again.
Covers: drafts, the answers of the writer's answerers, the baseline's answers to finished questions. Does not cover: a guess
without the picture that broke off, which no record tells; it counts as no guess.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from millrace.llm.failures import CutOff
from millrace.llm.limits import CUT_OFF, gives_more_room
from millrace.llm.settings import chats_in
from millrace.qa.settings import QaSettings
from millrace.qa.writers import writer_settings
from millrace.qa.writing.write_shards import dropped_path, examined_path
from millrace.records.question import REFUSED_QUESTION, AskedQuestion, Item
from millrace.run.journal import read_records

_TALLY = re.compile(r"\d+ of (\d+) answerers agree")
"""As the endpoint's writer words how many answers there were."""


def cut_off_drafts(folder: Path, before: Mapping[str, Any], now: QaSettings) -> Iterator[Path]:
    """The written shards in which a draft or an answer to one broke off at a limit that is higher now.

    Args:
        folder: the stage's.
        before: the config that the run's folder keeps.
        now: the config of this attempt.
    """
    try:
        then, writer = writer_settings(QaSettings.model_validate(before).writer), writer_settings(now.writer)
        raised = gives_more_room(then, writer)
    except ValueError:
        return  # a config of another version, or another config: it will be refused
    chats = chats_in(writer)
    answerers = len(chats[1:]) or len(chats)  # as in `expected_calls`: the first writes, the others answer, or it does both
    for lost in sorted((folder / "written" / "dropped").glob("shard-*.jsonl")) if raised else ():
        written = lost.parent.parent / lost.name
        kept = read_records(written, Item) if written.exists() else ()
        dropped = list(read_records(lost, REFUSED_QUESTION))
        tallies = (*(item.verification.by for item in kept), *(record.detail for record in dropped))
        if any(record.reason in {CUT_OFF, "not_answered"} for record in dropped) or any(
            int(found[1]) < answerers for found in map(_TALLY.search, filter(None, tallies)) if found
        ):
            yield written


def cut_off_answers(folder: Path) -> Iterator[Path]:
    """The shards of questions to which an answer of the baseline broke off."""
    for asked in sorted((folder / "asked").glob("shard-*.jsonl")):
        if any((line.error or "").startswith(CutOff.__name__) for line in read_records(asked, AskedQuestion)):
            yield folder / "written" / asked.name


def forget_answers(folder: Path, written: Path) -> None:
    """Have a shard's questions put to the baseline and checked anew."""
    for step in ("checked", "rejected", "asked"):
        (folder / step / written.name).unlink(missing_ok=True)


def forget_drafts(folder: Path, written: Path) -> None:
    """Have a shard written anew; what tells that it has to be goes last."""
    forget_answers(folder, written)
    for path in (written, examined_path(written), dropped_path(written)):
        path.unlink(missing_ok=True)
