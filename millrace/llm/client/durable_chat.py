"""The durable chat model: limits, retries, journal, ledger and schema checks around one or several endpoints.

From the outside in: schema (parse, check, ask once more) → journal (paid once) → attempts (which endpoint, when, how often) → one
attempt by a provider. Everything runs on one event loop; `blocking.py` is the door for code that has none.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from millrace.errors import UsageError
from millrace.llm import ImagePart, Reply, Request, Usage
from millrace.llm.batches.batched_calls import BatchedCalls
from millrace.llm.batches.planning import Costs
from millrace.llm.client.hopeless import Hopeless
from millrace.llm.client.more_room import is_cut_off, roomier
from millrace.llm.client.retries import Retries, RetryBudget
from millrace.llm.client.structured import asked_again, parsed, together
from millrace.llm.failures import AttemptFailed, BudgetSpent, CallFailed, CutOff, EndpointDown, ReplyInvalid
from millrace.llm.images import ImageEncoder
from millrace.llm.prices import cost_usd, price_of
from millrace.llm.settings import ModelSettings
from millrace.llm.store.answer_keys import AnswerKeys
from millrace.llm.store.ledger import Ledger
from millrace.llm.store.reply_journal import PaidReplies, content_key
from millrace.llm.throttle.endpoint_pool import Endpoint, EndpointPool
from millrace.llm.throttle.global_limit import GlobalLimit
from millrace.llm.throttle.rates import RateBudget
from millrace.records.llm import FailureKind


class DurableChat:
    """A chat model whose answers survive everything; made by `open_chat`.

    Covers: SIGKILL at any moment (calls in flight are paid again, no others), overload, faults of single requests, an endpoint
    that goes away and comes back, a spending limit.
    Does not cover: a server that bills a call and never delivers it.
    """

    def __init__(
        self,
        settings: ModelSettings,
        pool: EndpointPool,
        *,
        images: ImageEncoder,
        rates: RateBudget,
        ledger: Ledger,
        journal: PaidReplies | None,
        global_limit: GlobalLimit | None = None,
        batches: Callable[[Costs], BatchedCalls] | None = None,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.images = images
        self.rates = rates
        self.ledger = ledger
        self.journal = journal
        self.global_limit = global_limit
        self._price = price_of(settings)
        self._where = (settings.provider, settings.model, settings.images.model_dump(), settings.extra, settings.options)
        self._retries = RetryBudget()
        self._answerers = list(dict.fromkeys(endpoint.who for endpoint in pool.endpoints))
        self._pending: dict[bytes, asyncio.Future[Reply]] = {}
        self._successes = 0
        self._hopeless = Hopeless(settings.give_up_after_s)
        self._spent_usd = 0.0
        self._sending = 0
        self._mean_tokens = 0.0
        self.batches = (
            None if batches is None else batches(Costs(self._estimated_usd, self._may_spend, self._thrown_away_of_a_batch))
        )

    @property
    def name(self) -> str:
        """The model's name."""
        return self.settings.model or self.settings.provider

    @property
    def fingerprint(self) -> str:
        """Stands for everything that decides an answer apart from the request."""
        return content_key(self._where, Request(messages=()), ()).hex()[:16]

    @property
    def parallelism(self) -> int:
        """How many requests are worth having under way: what the endpoints take and a quarter more, for those that wait their
        turn.
        """
        most = sum(endpoint.limit.ceiling for endpoint in self.pool.endpoints)
        return most + max(4, most // 4)

    @property
    def most_waiting(self) -> int:
        """How many requests may wait for answers at a time where all of them are known beforehand."""
        return self.settings.batch.most_waiting if self.settings.mode == "batch" else self.parallelism

    def start_from(self, usd: float) -> None:
        """Count what earlier processes of this run have spent."""
        self._spent_usd = self.rates.spent_at_least(usd)

    async def complete(self, request: Request) -> Reply:
        """The reply, from the journal when it was paid for before; see `ChatModel.complete` for what it raises."""
        reply = await self._whole(request)
        if request.schema is None:
            return reply
        try:
            return parsed(reply, request.schema)
        except ReplyInvalid as problem:
            second = await self._whole(asked_again(request, reply, problem))
            return parsed(together(reply, second), request.schema)

    async def close(self) -> None:
        """Close the endpoints, write the ledger's sums."""
        if self.batches is not None:
            await self.batches.close()
        await self.pool.close()
        self.images.close()
        self.rates.close()
        self.ledger.close()
        if self.journal is not None:
            self.journal.close()

    async def _whole(self, request: Request) -> Reply:
        """The reply, asked for again with more room where it broke off.

        Raises:
            CutOff: it did each time.
        """
        reply = await self._once(request)
        for larger in roomier(request, self.settings.longest_answer):
            if not is_cut_off(reply, request):
                return reply
            try:
                reply = together(reply, await self._once(larger))
            except CallFailed as error:
                if error.reason != "rejected":
                    raise
                break  # the server has no more room than that
        if is_cut_off(reply, request):
            raise CutOff(f"the answer ends at {reply.usage.output_tokens or 'too many'} tokens", reply.text)
        return reply

    async def _once(self, request: Request) -> Reply:
        names = [await self.images.identify(part) for part in _images_of(request)]
        keys = AnswerKeys(self._where, request, names)
        if self.journal is not None and (paid := keys.find(self.journal, self._answerers)) is not None:
            self.ledger.replayed += 1
            self._hopeless.answered = True
            return msgspec.structs.replace(paid, replayed=True, attempts=0)
        while (pending := self._pending.get(keys.asked)) is not None:  # it is on its way: paid once means for both
            try:
                return msgspec.structs.replace(await asyncio.shield(pending), replayed=True, attempts=0)
            except asyncio.CancelledError:
                if not pending.cancelled() or _is_cancelled():
                    raise
                # the caller has been cancelled, which is no reason to give up here
        mine: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._pending[keys.asked] = mine
        try:
            reply = await self._pay(keys, request)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                mine.cancel()
            else:
                mine.set_exception(error)
                mine.exception()  # without another waiting caller it is no second error
            raise
        finally:
            del self._pending[keys.asked]
        mine.set_result(reply)
        return reply

    async def _pay(self, keys: AnswerKeys, request: Request) -> Reply:
        share = self.settings.batch.price_factor
        batched = await self._from_a_batch(keys, request)
        if batched is None:
            share = 1.0
            endpoint, reply = await self._attempts(request)
        else:
            endpoint, reply = self.pool.endpoints[0], batched
        live_usd = cost_usd(reply.usage, self._price)
        reply = msgspec.structs.replace(reply, cost_usd=None if live_usd is None else live_usd * share)
        self.ledger.paid(reply, request.stage)
        if self.settings.max_cost_usd is not None:
            self._spent_usd = self.rates.spend(reply.cost_usd or 0.0)
        if self.journal is not None:
            await self.journal.add(keys.of(reply, endpoint.who), reply)
        return reply

    async def _from_a_batch(self, keys: AnswerKeys, request: Request) -> Reply | None:
        """The answer that a batch has; None where it is asked live."""
        if self.settings.mode != "batch":
            return None
        if self.batches is None:
            raise UsageError("mode: batch wants a run folder, in which its batches are kept through a kill")
        try:
            reply = await self.batches.answer(keys.asked.hex(), request)
        except CallFailed as error:
            self._note_failure(AttemptFailed(cast("FailureKind", error.reason), error.detail, status=error.status))
            raise
        if reply is not None:
            self._successes += 1
            self._hopeless.succeeded()
        return reply

    async def _attempts(self, request: Request) -> tuple[Endpoint, Reply]:
        retries = Retries(self.settings.attempts, self._retries)
        tokens = self._estimate(request) if self.settings.tokens_per_minute is not None else 0.0
        while True:
            endpoint = await self.pool.acquire()
            outcome: Reply | AttemptFailed | None = None
            try:
                self._check_budget()
                if self.global_limit is not None:
                    await self.global_limit.acquire()
                await self.rates.acquire(tokens)
                retries.sent += 1
                outcome = await self._attempt(endpoint, request, first=not retries.counted)
            finally:
                self._settle(endpoint, outcome)
            if isinstance(outcome, Reply):
                self._note_success(outcome, tokens)
                return endpoint, msgspec.structs.replace(outcome, attempts=retries.sent)
            wait_s = retries.wait_after(outcome)
            if wait_s is None:
                self._note_failure(outcome)
                raise CallFailed(outcome.kind, outcome.detail, outcome.status, retries.sent)
            await asyncio.sleep(wait_s)

    async def _attempt(self, endpoint: Endpoint, request: Request, *, first: bool) -> Reply | AttemptFailed:
        started = time.monotonic()
        self._sending += 1
        try:
            reply = await endpoint.model.complete(request)
        except AttemptFailed as error:
            self.pool.failed(endpoint, error, first=first)
            if error.usage is not None:
                self._thrown_away(error.usage, request.stage)
            return error
        finally:
            self._sending -= 1
        latency_s = time.monotonic() - started
        self.pool.answered(endpoint, latency_s)
        return msgspec.structs.replace(reply, latency_s=latency_s)

    def _thrown_away_of_a_batch(self, usage: Usage, stage: str) -> None:
        self._thrown_away(usage, stage, self.settings.batch.price_factor)

    def _thrown_away(self, usage: Usage, stage: str, share: float = 1.0) -> None:
        cost = cost_usd(usage, self._price)
        cost = None if cost is None else cost * share
        self.ledger.thrown_away(usage, cost, stage, self.name)
        if self.settings.max_cost_usd is not None and cost:
            self._spent_usd = self.rates.spend(cost)

    def _settle(self, endpoint: Endpoint, outcome: Reply | AttemptFailed | None) -> None:
        if outcome is None:
            self.pool.abandon(endpoint)
        elif isinstance(outcome, AttemptFailed) and outcome.kind == "overload":
            self.pool.hold(endpoint)
        else:
            self.pool.release(endpoint)

    def _note_success(self, reply: Reply, estimated: float) -> None:
        self._successes += 1
        self._hopeless.succeeded()
        self._retries.succeeded()
        if self.settings.tokens_per_minute is not None:
            used = float((reply.usage.input_tokens or 0) + (reply.usage.output_tokens or 0))
            if used:
                self._mean_tokens = used if not self._mean_tokens else 0.95 * self._mean_tokens + 0.05 * used
                self.rates.settle(used - estimated)

    def _note_failure(self, error: AttemptFailed) -> None:
        """End the run where going on can only fail: for all that wait, and for the caller."""
        reason = self._hopeless.failed(error)
        if reason is not None:
            down = EndpointDown(f"{reason}; nothing paid is lost: repair it and run again")
            self.pool.stop(down)
            raise down

    def _check_budget(self) -> None:
        limit = self.settings.max_cost_usd
        if limit is None:
            return
        mean_usd = self._spent_usd / self._successes if self._successes else 0.0
        if self._spent_usd + self._sending * mean_usd >= limit:
            spent = f"max_cost_usd = {limit:g} is reached ({self._spent_usd:.4f} spent)"
            raise BudgetSpent(f"{spent}; raise it and run again to go on")

    def _may_spend(self, usd: float) -> None:
        """See that a batch that may cost `usd`, with all that are under way, stays within the limit."""
        limit = self.settings.max_cost_usd
        if limit is not None and self._spent_usd + usd > limit:
            spent = f"max_cost_usd = {limit:g} would be passed ({self._spent_usd:.4f} spent, the batches may cost {usd:.4f})"
            raise BudgetSpent(f"{spent}; raise it, or make batch.most_requests smaller, and run again to go on")

    def _estimated_usd(self, request: Request) -> float | None:
        """What a question may cost in a batch: a token for four letters, a thousand for a picture, half of the longest answer."""
        letters = sum(len(message.text) for message in request.messages)
        prompt = letters // 4 + 1000 * len(_images_of(request))
        usd = cost_usd(Usage(input_tokens=prompt, output_tokens=(request.max_tokens or 512) // 2), self._price)
        return None if usd is None else usd * self.settings.batch.price_factor

    def _estimate(self, request: Request) -> float:
        if self._mean_tokens:
            return self._mean_tokens
        letters = sum(len(message.text) for message in request.messages)
        return letters / 4 + 1000.0 * len(_images_of(request)) + (request.max_tokens or 256) / 2


def _images_of(request: Request) -> Sequence[ImagePart]:
    return [part for message in request.messages for part in message.parts if isinstance(part, ImagePart)]


def _is_cancelled() -> bool:
    """Whether the running task has been asked to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def budget_file(folder: Path | None, settings: ModelSettings) -> Path | None:
    """Where the processes of a run share a model's rates and spending."""
    named: Any = (settings.provider, settings.model)
    return None if folder is None else folder / f"rates-{content_key(named, Request(messages=()), ()).hex()[:12]}.bin"
