"""One batch from its plan to its answers on disk, over any number of processes that are killed on the way.

planned → submitting → submitted → collected. Before it is handed in, and again after every attempt whose result is not known, it
is looked up by its name at the provider: what is there already is taken over and not handed in again. So a batch is paid for
once, wherever a process ends.

Covers: SIGKILL at every step, a lost answer to a submission, a provider that is away for a while, an expired, cancelled or partly
failed batch, answers that are gone.
Does not cover: a provider whose list does not show a batch `SETTLE_S` after it took it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from millrace.llm.batches.api import AnswersLost, BatchApi
from millrace.llm.batches.folder import BatchFolder
from millrace.llm.failures import AttemptFailed, EndpointDown
from millrace.records.batches import BatchEnd, BatchRecord
from millrace.run.counted import counted

T = TypeVar("T")

SETTLE_S = 2.0
"""So long after a submission whose result is not known the list of batches is believed."""

PASSING_S = 60.0
"""A batch that is refused because too much is under way is handed in again after this."""

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0

log = logging.getLogger("millrace.batches")

Sleep = Callable[[float], Awaitable[None]]


class Submission:
    """Sees one batch through. The caller holds its lock.

    Args:
        folder: where its record is.
        api: the provider.
        poll_s: seconds between two looks at it.
        give_up_after_s: a provider that does not answer for so long ends this; what was handed in goes on.
        sleep: waits; a test's own clock.
    """

    def __init__(
        self,
        folder: BatchFolder,
        api: BatchApi,
        *,
        poll_s: float,
        give_up_after_s: float,
        sleep: Sleep,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._api = api
        self._poll_s = poll_s
        self._give_up_after_s = give_up_after_s
        self._sleep = sleep
        self._clock = clock

    async def see_through(self, record: BatchRecord) -> BatchRecord:
        """The record of the collected batch.

        Raises:
            EndpointDown: the provider cannot be reached, or refuses the key. RunFailed: it has no batches.
        """
        until = self._clock() + self._give_up_after_s
        while record.status != "collected":
            if record.status == "submitted":
                record = await self._collected(record)
            else:
                record = await self._submitted(record, until)
        self._folder.drop_questions(record.name)
        return record

    async def _submitted(self, record: BatchRecord, until: float) -> BatchRecord:
        unsure = record.status == "submitting"
        if unsure:
            await self._sleep(SETTLE_S)
        try:
            there = await self._patiently(lambda: self._api.find(record, self._folder.others(record)))
        except AttemptFailed as error:
            raise EndpointDown(f"batches cannot be looked up ({error.detail}); repair it and run again") from error
        taken_over = there is not None
        if there is None:
            if not unsure:
                record = self._folder.write(msgspec.structs.replace(record, status="submitting", submitted_at=time.time()))
            lines = self._folder.questions(record.name)
            try:
                there = await self._api.submit(record, lines)
            except AttemptFailed as error:
                self._end_if_hopeless(error)
                if error.kind == "rejected":
                    return self._refused(record, error.detail)
                if self._clock() > until:
                    raise EndpointDown(f"{error.detail}; nothing was lost: run again") from error
                log.warning("batch %s could not be handed in (%s); it is looked up and tried again", record.name[:12], error)
                await self._sleep(error.retry_after_s or FIRST_WAIT_S)
                return record
        else:
            log.info("batch %s is there already as %s: taken over, not handed in again", record.name[:12], there.id)
        now = record.submitted_at or time.time()
        return self._folder.write(
            msgspec.structs.replace(record, status="submitted", batch_id=there.id, submitted_at=now, looked_up=taken_over)
        )

    async def _collected(self, record: BatchRecord) -> BatchRecord:
        batch_id = record.batch_id
        try:
            while True:
                there = await self._patiently(lambda: self._api.look(batch_id))
                if (there.done, there.failed) != (record.done, record.failed):
                    record = self._folder.write(msgspec.structs.replace(record, done=there.done, failed=there.failed))
                if there.end:
                    break
                await self._sleep(self._poll_s)
            if there.passing:
                log.warning("batch %s is not taken yet: %s", record.name[:12], there.detail)
                await self._sleep(PASSING_S)
            answers = await self._patiently(lambda: self._api.answers(there, record))
        except AttemptFailed as error:  # the provider does not know the batch or its answers any more
            return self._written_off(record, "lost", error.detail, 0)
        except AnswersLost as error:
            return self._written_off(record, "lost", str(error), 0)
        if answers and not {answer.id for answer in answers} & set(record.requests):
            log.warning("batch %s: %s holds other questions; it is looked for again", record.name[:12], batch_id)
            not_it = (*record.not_it, batch_id)
            return self._folder.write(msgspec.structs.replace(record, status="submitting", batch_id="", not_it=not_it))
        answered = self._folder.write_answers(record, answers)
        return self._written_off(record, there.end, there.detail, answered, passing=there.passing)

    def _refused(self, record: BatchRecord, detail: str) -> BatchRecord:
        return self._written_off(record, "refused", detail, 0)

    def _written_off(
        self, record: BatchRecord, end: BatchEnd, detail: str, answered: int, *, passing: bool = False
    ) -> BatchRecord:
        missing = len(record.requests) - answered
        if missing:
            said = f" ({detail})" if detail else ""
            log.warning(
                "batch %s ended as %s%s: %s of %s without an answer",
                *(record.name[:12], end, said, missing, counted(len(record.requests), "questions")),
            )
        return self._folder.write(
            msgspec.structs.replace(
                record,
                status="collected",
                end=end,
                passing=passing,
                detail=detail,
                done=answered,
                failed=missing,
                collected_at=time.time(),
            )
        )

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """The result of `attempt`, made again while the provider is away or overloaded; raises AttemptFailed where it refuses."""
        began, wait_s = self._clock(), FIRST_WAIT_S
        while True:
            try:
                return await attempt()
            except AttemptFailed as error:
                self._end_if_hopeless(error)
                if error.kind == "rejected":
                    raise
                if self._clock() - began > self._give_up_after_s:
                    raise EndpointDown(f"{error.detail}; what was handed in goes on there: run again to take it up") from error
                await self._sleep(error.retry_after_s or wait_s)
                wait_s = min(LONGEST_WAIT_S, 2 * wait_s)

    def _end_if_hopeless(self, error: AttemptFailed) -> None:
        if error.fatal or error.kind == "credentials":
            raise EndpointDown(f"{error.detail}; what was handed in goes on there: repair it and run again") from error
