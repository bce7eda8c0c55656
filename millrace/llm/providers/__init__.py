"""Where chat models come from: the contract. One file in this folder is one provider; it makes one attempt per call.

A plug-in is a module with `open_model(settings, endpoint, shared)`. What it opens raises `AttemptFailed` (of
`millrace.llm.failures`) for an attempt that may be made again and `CallFailed` for a request that will never be answered; limits,
retries, the journal of paid answers and the ledger are the durable client's, around it. How to write one:
docs/extending/provider.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from millrace.errors import UsageError
from millrace.llm import Reply, Request
from millrace.plugins.contracts import optional

if TYPE_CHECKING:
    from millrace.llm.batches.api import BatchApi
    from millrace.llm.settings import EndpointSettings, ModelSettings

PACKAGE = "millrace.llm.providers"


class ProvidedModel(Protocol):
    """What a provider opens: a `millrace.llm.ChatModel` that makes one attempt."""

    name: str
    """The model's name for records and the ledger."""
    place: str = "this process"
    """Where it is, for messages: scheme, host and port, never a key."""
    pause_s: float | None = None
    """Seconds in which the server wants no request, set with a reply; the client takes it up and sets it to None."""

    async def complete(self, request: Request) -> Reply:
        """The reply to one attempt."""
        ...

    async def close(self) -> None:
        """Close connections, threads and files. Harmless when called twice."""
        ...


class Plugin(Protocol):
    """What a module in this folder has."""

    NEEDS_ENDPOINTS: bool = False
    """Whether it asks servers: a config must then name `endpoints`, and the model is opened once for each."""
    NEEDS_MODEL: bool = False
    """Whether a config must name the `model`."""
    TAKES_ENDPOINTS: bool = True
    """False: it runs in this process, and a config that names endpoints is refused."""
    TAKES_DEVICE: bool = False
    """Whether `options.device` is set to the GPU of the process that asks, where the config leaves it out."""
    OFFERS_BATCHES: bool = False
    """Whether it has `open_batches`, so that a config may say `mode: batch`."""

    def open_model(self, settings: ModelSettings, endpoint: EndpointSettings | None, shared: Any) -> ProvidedModel:
        """The model at `endpoint`; None where the config names none. `shared`: `millrace.llm.transport.http_chat.Resources`."""
        ...

    @optional
    def check(self, settings: ModelSettings) -> None:
        """See, before a run starts and without loading it, that a model that runs in this process could be opened.

        Raises:
            UsageError: it could not; the message says what to do.
        """
        del settings

    @optional
    def open_batches(self, model: Any) -> BatchApi:
        """The batches of the account that `model` (which `open_model` opened) asks.

        Raises:
            UsageError: it has none.
        """
        raise UsageError(f"{model.name} has no batches")
