"""From a config to a durable chat model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx

from millrace.config import cache_folder
from millrace.errors import UsageError
from millrace.llm.batches.batched_calls import BatchedCalls
from millrace.llm.batches.folder import BatchFolder, batch_folder
from millrace.llm.batches.planning import Costs
from millrace.llm.client.durable_chat import DurableChat, budget_file
from millrace.llm.images import ImageEncoder
from millrace.llm.prices import price_of
from millrace.llm.providers import ProvidedModel
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.llm.store.ledger import Ledger, read_ledger
from millrace.llm.store.reply_journal import PaidReplies
from millrace.llm.throttle.byte_budget import ByteBudget
from millrace.llm.throttle.endpoint_pool import Endpoint, EndpointPool
from millrace.llm.throttle.global_limit import GlobalLimit
from millrace.llm.throttle.rates import RateBudget
from millrace.llm.transport.http_chat import Resources
from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin

PROVIDERS = "millrace.llm.providers"


def open_chat(
    settings: ModelSettings,
    folder: Path | None,
    *,
    shard: str = "",
    transport: httpx.AsyncBaseTransport | None = None,
) -> DurableChat:
    """The chat model of a config. Open it where it is used: it belongs to one process and one event loop.

    Args:
        settings: the model. folder: the run's folder for this model's journal, ledger and budgets, shared by all processes of
        the run; None keeps nothing
            on disk (whatever `settings.cache` says) and shares nothing.
        shard: a name for a journal of its own, where the shards of a run ask different things: a resumed shard then reads only
        what
            it has paid for itself. "" is one journal for all.
        transport: sends the requests instead of the project's own transports.

    Raises:
        UsageError: no such provider, a key that is not set, a spending limit without a price.
    """
    if settings.max_cost_usd is not None and price_of(settings) is None:
        raise UsageError(f"max_cost_usd needs to know what {settings.model} costs: set price: {{input_usd: …, output_usd: …}}")
    images = ImageEncoder(settings.images)
    shared = Resources(images, ByteBudget(settings.max_bytes_in_flight), transport, folder)
    module = load_plugin(PROVIDERS, settings.provider, "provider")
    places: list[EndpointSettings | None] = list(settings.endpoints) or [None]
    endpoints = [
        Endpoint(
            completed(module.open_model(settings, place, shared), ProvidedModel, f"the provider '{settings.provider}'"),
            (place and place.max_in_flight) or settings.max_in_flight,
            settings.identity or (place.base_url.partition("?")[0] if place is not None else ""),
        )
        for place in places
    ]
    rates = RateBudget(
        budget_file(folder, settings),
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
    )
    journal = None
    if settings.cache == "shared":
        journal = PaidReplies(cache_folder() / "replies" / _file_name(settings.model or settings.provider))
    elif settings.cache == "run" and folder is not None:
        journal = PaidReplies(folder / "replies" / shard if shard else folder / "replies")
    batches = None
    if settings.mode == "batch" and folder is not None:
        batches = partial(_batches, module, endpoints[0].model, folder, settings)
    ledger_folder = None if folder is None else folder / "ledger"
    chat = DurableChat(
        settings,
        EndpointPool(endpoints, give_up_after_s=settings.give_up_after_s),
        images=images,
        rates=rates,
        ledger=Ledger(ledger_folder),
        journal=journal,
        global_limit=None if settings.global_limit is None else GlobalLimit(settings.global_limit),
        batches=batches,
    )
    if settings.max_cost_usd is not None and ledger_folder is not None:
        chat.start_from(sum(row.cost_usd for row in read_ledger([ledger_folder])))
    return chat


def _batches(module: Any, model: Any, folder: Path, settings: ModelSettings, costs: Costs) -> BatchedCalls:
    place = BatchFolder(batch_folder(folder, model.wire.base_url, settings.model))
    return BatchedCalls(model, module.open_batches(model), place, settings, costs)


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
