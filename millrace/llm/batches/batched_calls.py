"""Questions that are put together to batches: each call waits until the batch with its question has been answered.

A question that a batch of this run holds, or held, is never handed in a second time while that has an answer or may get one:
what is on disk decides, so that another process, or the same command after a kill, waits for the same batches and reads the same
answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from millrace.errors import ItemFailed, ShortOfTarget
from millrace.llm import Reply, Request
from millrace.llm.batches.api import BatchApi, as_answer
from millrace.llm.batches.folder import BatchFolder
from millrace.llm.batches.planning import Costs, Planning
from millrace.llm.batches.submission import Sleep, Submission
from millrace.llm.failures import AttemptFailed, CallFailed, EndpointDown
from millrace.llm.settings import ModelSettings
from millrace.llm.transport.http_chat import HttpChat
from millrace.records.batches import BatchAnswer, BatchRecord

OTHERS_S = 1.0
"""How often a process looks at a batch that another process sees to."""

log = logging.getLogger("millrace.batches")


class _Question(NamedTuple):
    request: Request
    turn: asyncio.Future[None]
    """Done when there is something new about the question."""


class BatchedCalls:
    """The batches of one model, in one process and event loop.

    Args:
        model: writes requests and reads answers.
        api: the provider's batches.
        folder: of the run.
        settings: of the model.
        costs: see there.
        sleep, clock: a test's own time.
    """

    def __init__(
        self,
        model: HttpChat,
        api: BatchApi,
        folder: BatchFolder,
        settings: ModelSettings,
        costs: Costs,
        *,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.model = model
        self.folder = folder
        self._api = api
        self._settings = settings
        self._chosen = settings.batch
        self._costs = costs
        self._sleep = sleep
        self._submission = Submission(
            folder, api, poll_s=self._chosen.poll_s, give_up_after_s=settings.give_up_after_s, sleep=sleep, clock=clock
        )
        self._plans = Planning(model, api, folder, settings, costs)
        self._own: set[str] = set()
        """Batches whose answers this process has collected."""
        self._discarded: set[tuple[str, str]] = set()
        self._joining: dict[str, _Question] = {}
        """Questions that no batch holds yet."""
        self._waiting: dict[str, list[asyncio.Future[None]]] = {}
        """Those that a batch holds, by key."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._planning: asyncio.Task[None] | None = None
        self._broken: Exception | None = None

    async def answer(self, key: str, request: Request) -> Reply | None:
        """The answer that a batch has, now or later; None where it is to be asked live.

        Raises:
            CallFailed: the server refuses the question, or has failed on it in as many batches as there are attempts.
            RunFailed, ShortOfTarget: no batch will be handed in.
        """
        while True:
            sent, tried, unanswered = 0, 0, False
            forgiven = self.folder.forgiven
            for record in self.folder.with_question(key):
                if record.status != "collected":
                    await self._news_of(key)
                    break
                if record.end == "refused":  # as a whole: no question of it has been looked at
                    continue
                sent += 1
                tried += record.number >= forgiven
                try:
                    reply = self._reply_in(record, key, request)
                except AttemptFailed as error:
                    self._note_discarded(record, key, request, error)
                    final = error.kind in {"rejected", "credentials"} or tried >= self._settings.attempts
                    if final and record.number >= forgiven:
                        raise CallFailed(error.kind, error.detail, error.status, sent) from error
                    unanswered = True
                    continue
                if reply is not None:
                    return msgspec.structs.replace(reply, attempts=sent)
            else:
                if unanswered and self._chosen.unanswered == "live":
                    return None
                await self._joined(key, request)

    def take_up(self) -> None:
        """Collect all batches of this model that are under way, also those that another process handed in."""
        for record in self.folder.records():
            if record.status != "collected" and record.name not in self._tasks:
                self._tasks[record.name] = asyncio.create_task(self._see_to(record.name))

    async def close(self) -> None:
        """Stop looking. What was handed in goes on."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = [*self._tasks.values(), *([self._planning] if self._planning else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._api.close()

    def _reply_in(self, record: BatchRecord, key: str, request: Request) -> Reply | None:
        """The reply; None where the question goes into another batch in another form."""
        found = self.folder.answers(record).get(key)
        if found is None or found.status == 0:
            said = "no answer in it" if found is None else _words(found)
            raise AttemptFailed("server", f"the batch {record.batch_id} ended as {record.end} without an answer ({said})")
        return self.model.read_later(as_answer(key, found), request, record.form)

    def _note_discarded(self, record: BatchRecord, key: str, request: Request, error: AttemptFailed) -> None:
        """A paid answer that cannot be used is in the ledger once, by the process that collected it."""
        if error.usage is not None and record.name in self._own and (record.name, key) not in self._discarded:
            self._discarded.add((record.name, key))
            self._costs.discarded(error.usage, request.stage)

    async def _joined(self, key: str, request: Request) -> None:
        """Put a question into the next batch; returns when there is news of it."""
        if self._broken is not None:
            raise self._broken
        loop = asyncio.get_running_loop()
        question = self._joining.get(key)
        if question is None:
            question = self._joining[key] = _Question(request, loop.create_future())
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(self._chosen.gather_s, self._full)
        if len(self._joining) >= self._plans.most_requests:
            self._full()
        try:
            await question.turn
        finally:
            self._joining.pop(key, None)  # a caller that has stopped waiting asks nothing

    async def _news_of(self, key: str) -> None:
        if self._broken is not None and not isinstance(self._broken, ShortOfTarget):
            raise self._broken
        self.take_up()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(turn)
        await turn

    def _full(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._planning is None or self._planning.done():
            self._planning = asyncio.create_task(self._plan_all())

    async def _plan_all(self) -> None:
        try:
            while self._joining:
                await self._plan()
        except Exception as error:  # noqa: BLE001 - the calls that wait raise it
            self._fail(error, ())

    async def _plan(self) -> None:
        """Write down one batch of what has joined, and begin to submit and collect it."""
        for key in [key for key, question in self._joining.items() if question.turn.done()]:
            del self._joining[key]
        while True:
            with self.folder.locked("plan") as alone:
                if alone:
                    plan = await self._plans.next_batch({key: question.request for key, question in self._joining.items()})
                    break
            await self._sleep(0.05)  # another process is planning
        for key in plan.elsewhere:
            self._news(self._joining.pop(key, None))
        for key, error in plan.refused.items():
            question = self._joining.pop(key, None)
            if question is not None and not question.turn.done():
                question.turn.set_exception(error)
        for key in plan.requests:
            question = self._joining.pop(key, None)
            if question is not None:
                self._waiting.setdefault(key, []).append(question.turn)
        self.take_up()

    def _news(self, question: _Question | None) -> None:
        if question is not None:
            _done(question.turn)

    async def _see_to(self, name: str) -> None:
        """See a batch through, or wait for the process that does."""
        record = None
        try:
            while record is None or record.status != "collected":
                with self.folder.locked(name) as alone:
                    record = self.folder.record(name)
                    if record.status != "collected" and alone:
                        record = await self._submission.see_through(record)
                        self._own.add(name)
                        break
                if record.status != "collected":
                    await self._sleep(OTHERS_S)
            if record.end == "refused" and not record.passing:
                raise EndpointDown(f"{self.model.place} refuses the batch: {record.detail}; repair it and run again")
        except Exception as error:  # noqa: BLE001 - the calls that wait raise it
            self._fail(error, record.requests if record is not None else ())
        finally:
            del self._tasks[name]
        if record is not None:
            self._tell(record)

    def _tell(self, record: BatchRecord) -> None:
        if record.failed:
            way = "live, at the full price" if self._chosen.unanswered == "live" else "in the next batch"
            log.warning("batch %s: what the server left unanswered is asked again %s", record.name[:12], way)
        for key in record.requests:
            for turn in self._waiting.pop(key, ()):
                _done(turn)

    def _fail(self, error: Exception, keys: Sequence[str]) -> None:
        """Those that wait for `keys` raise `error`; where nothing more can be handed in, so does everyone who waits for that."""
        turns = [turn for key in keys for turn in self._waiting.pop(key, ())]
        if not isinstance(error, ItemFailed):
            self._broken = error
            turns += [question.turn for question in self._joining.values()]
            self._joining.clear()
        for turn in turns:
            if not turn.done():
                turn.set_exception(error)
                turn.exception()  # without a waiting caller it is no second error


def _words(answer: BatchAnswer) -> str:
    body: Any = answer.body
    said = body.get("message") or body.get("type") or body.get("code") if isinstance(body, dict) else body
    return " ".join(str(said).split())[:200]


def _done(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
