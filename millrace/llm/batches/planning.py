"""Which questions go into the next batch, and its record on disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from millrace.errors import ItemFailed
from millrace.llm import Request, Usage
from millrace.llm.batches.api import BatchApi
from millrace.llm.batches.folder import BatchFolder
from millrace.llm.settings import ModelSettings
from millrace.llm.transport.http_chat import HttpChat
from millrace.records.batches import BatchRecord


class Costs(NamedTuple):
    """What the caller knows of money."""

    estimate: Callable[[Request], float | None]
    """What a question may cost in a batch, in US dollars."""
    may_send: Callable[[float], None]
    """Raises BudgetSpent where so much more must not be spent."""
    discarded: Callable[[Usage, str], None]
    """Writes down the tokens of an answer that cannot be used, and its stage."""


class Plan(NamedTuple):
    """What became of the questions that were looked at; those that are in none of these stay for the next batch."""

    requests: Sequence[str] = ()
    """The keys of those in the new batch."""
    elsewhere: Sequence[str] = ()
    """Of those that another process has just handed in."""
    refused: Mapping[str, ItemFailed] = {}
    """Of those that cannot be sent."""


class Planning:
    """Writes batches down. The caller holds the folder's lock `plan`.

    Args:
        model: writes requests. api: says what a batch may hold. folder: of the run. settings: of the model. costs: see there.
    """

    def __init__(self, model: HttpChat, api: BatchApi, folder: BatchFolder, settings: ModelSettings, costs: Costs) -> None:
        self._model = model
        self._api = api
        self._folder = folder
        self._settings = settings
        self._costs = costs

    @property
    def most_requests(self) -> int:
        """Half as many after each time that a batch was too much for the account."""
        refused = sum(record.passing for record in self._folder.records())
        most = min(self._settings.batch.most_requests, self._api.most_requests)
        return max(1, most >> min(refused, 12))

    async def next_batch(self, questions: Mapping[str, Request]) -> Plan:
        """Write down one batch of the first of `questions`.

        Raises:
            BudgetSpent: it would cost too much.
        """
        there = {key for record in self._folder.records() if record.status != "collected" for key in record.requests}
        elsewhere = [key for key in questions if key in there]
        refused: dict[str, ItemFailed] = {}
        lines: list[bytes] = []
        keys: list[str] = []
        costs: list[float | None] = []
        size, form = 0, ""
        most, most_bytes = self.most_requests, min(self._settings.batch.most_bytes, self._api.most_bytes)
        for key, request in questions.items():
            if key in there:
                continue
            if len(keys) >= most:
                break
            try:
                body, written_as = await self._model.written(request)
            except ItemFailed as error:  # a picture that cannot be sent
                refused[key] = error
                continue
            line = self._api.line(key, body)
            if keys and (size + len(line) > most_bytes or written_as != form):
                break
            form = written_as
            costs.append(self._costs.estimate(request))
            lines.append(line)
            keys.append(key)
            size += len(line) + 1
        if keys:
            cost = sum(one or 0.0 for one in costs)
            self._costs.may_send(cost + self._under_way_usd())
            record = self._record(keys, form, None if None in costs else cost, questions[keys[0]].stage)
            self._folder.write_questions(record.name, lines)
            self._folder.write(record)
        return Plan(keys, elsewhere, refused)

    def _record(self, keys: Sequence[str], form: str, cost: float | None, stage: str) -> BatchRecord:
        base_url, model = self._model.wire.base_url, self._settings.model
        there = {record.name for record in self._folder.records()}
        name = ""
        for time_of_asking in range(len(there) + 1):  # the same questions may be asked again, in a batch of another name
            asked = "\n".join((base_url, model, form, str(time_of_asking), *sorted(keys)))
            name = hashlib.blake2b(asked.encode(), digest_size=16).hexdigest()
            if name not in there:
                break
        return BatchRecord(
            name=name,
            number=len(there),
            base_url=base_url,
            model=model,
            stage=stage,
            form=form,
            requests=tuple(keys),
            estimated_usd=cost,
            planned_at=time.time(),
        )

    def _under_way_usd(self) -> float:
        return sum(record.estimated_usd or 0.0 for record in self._folder.records() if record.status != "collected")
