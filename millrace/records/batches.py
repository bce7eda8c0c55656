"""The record of a batch of questions handed in to a provider: a file of the run's folder, written anew at each step."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from millrace.records.record import Record
from millrace.run.counted import counted

BatchStatus = Literal["planned", "submitting", "submitted", "collected"]
"""planned: its questions are on disk, nothing was sent. submitting: it may have reached the provider, or not; that is looked up
before it is sent again. submitted: the provider has it. collected: what it holds is on disk.
"""

BatchEnd = Literal["", "completed", "expired", "cancelled", "failed", "refused", "lost"]
"""How it ended; "" while it has not.

failed: the provider broke down over it. refused: the provider did not take it. lost: it ended, and its answers are gone.
"""


class BatchRecord(Record, frozen=True, kw_only=True):
    """One batch."""

    SCHEMA: ClassVar[str] = "millrace.batch/1"

    name: str
    """A digest of what is asked, whom, and for the how-many-th time: the name by which it is looked up at the provider."""
    number: int
    """Batches are numbered in the order in which they were planned."""
    base_url: str
    model: str
    stage: str
    """`Request.stage` of its first question."""
    form: str
    """The digest of the form of requests in which its questions are written."""
    requests: tuple[str, ...]
    """The content key of each question, in hexadecimal: its name in the batch."""
    estimated_usd: float | None = None
    """What its answers may cost, estimated before it was sent; None where no price is known."""
    planned_at: float = 0.0
    """Seconds since 1970, as are the two below."""
    submitted_at: float | None = None
    collected_at: float | None = None
    status: BatchStatus = "planned"
    batch_id: str = ""
    """The provider's name for it; "" until that is known."""
    not_it: tuple[str, ...] = ()
    """Batches of the provider that were taken for it and held other questions."""
    looked_up: bool = False
    """`batch_id` was found by looking, not told by the provider when it took the batch: another record may own it."""
    end: BatchEnd = ""
    passing: bool = False
    """With `refused`: what stood in the way passes with time, so its questions go into the next batch."""
    detail: str = ""
    """What the provider says of its end."""
    done: int = 0
    """Questions answered, as the provider last said."""
    failed: int = 0
    """Questions that the provider could not answer, as it last said; once collected, all that have no answer."""


class BatchCounts(msgspec.Struct, frozen=True):
    """What the batches of a run have come to."""

    SCHEMA: ClassVar[str] = "millrace.batch_counts/1"

    questions: int = 0
    """In batches that were planned, in all."""
    answered: int = 0
    """Of those, as the providers last said."""
    submitted: int = 0
    """Batches that the providers have or had."""
    running: int = 0
    """Batches whose answers are not here yet."""
    done: int = 0
    """Batches whose answers are here."""

    def words(self) -> str:
        """`3 batches handed in, 2 under way, 1 done`."""
        return f"{counted(self.submitted, 'batches')} handed in, {self.running:,} under way, {self.done:,} done"


class BatchAnswer(msgspec.Struct, frozen=True):
    """What a batch holds for one of its questions: what would have been the answer to a request."""

    SCHEMA: ClassVar[str] = "millrace.batch_answer/1"

    id: str
    """The question's content key."""
    status: int
    """The HTTP status of the answer; 0 where the question was not answered."""
    body: Any
    """The body of the answer, or what is said instead of one."""
