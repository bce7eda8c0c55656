"""The config of a chat model: which model, where, how fast, how much money."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator, model_validator

from millrace.config import OPERATIONAL, Settings
from millrace.errors import UsageError
from millrace.plugins.form_fields import NameOf
from millrace.plugins.loading import load_plugin

SECRET_WORDS = ("key", "token", "secret", "password", "sig", "auth", "credential")
"""Names of query parameters with one of these are refused: a base URL is written to the run's config."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class EndpointSettings(Settings):
    """One server that serves the model."""

    base_url: str
    """Where its API starts, for OpenAI-compatible servers usually `http://HOST:PORT/v1`; with a query where the API wants one
    (`?api-version=…`). Never with a key or password in it."""
    api_key_env: str | None = None
    """The environment variable that holds the key. Neither this nor a block: no key is sent."""
    api_key_block: str | None = None
    """The Secret block of the Prefect server that holds the key, instead of an environment variable."""
    max_in_flight: PositiveInt | None = None
    """Requests in flight at this endpoint, at most; null takes the model's."""
    headers: dict[str, str] = {}
    """More headers to send. Not for secrets: they are written to the run's config."""
    secret_headers: dict[str, str] = {}
    """More headers whose values are secrets: header → the environment variable that holds its value (`Ocp-Apim-Subscription-Key:
    GATEWAY_KEY`). Only the variable's name is written to the run's config."""

    @field_validator("base_url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        scheme, sign, rest = value.partition("://")
        if not sign or scheme not in {"http", "https"} or not rest.strip("/"):
            raise ValueError("a base URL starts with http:// or https:// and names a host")
        if "@" in rest.split("/")[0]:
            raise ValueError("a base URL must not hold a password; name an environment variable in api_key_env")
        if "#" in value:
            raise ValueError("a base URL has no fragment")
        address, _, query = value.partition("?")
        for part in query.split("&") if query else ():
            name = part.partition("=")[0]
            if any(word in name.lower().replace("-", "").replace("_", "") for word in SECRET_WORDS):
                raise ValueError(f"'{name}' in a base URL looks like a key; it belongs into the variable named by api_key_env")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("a base URL has only ASCII characters and no spaces; write others as %XX")
        try:
            _ = urllib.parse.urlsplit(value).port
        except ValueError as error:
            raise ValueError(f"a base URL names a host and a port ({error})") from None
        return address.rstrip("/") + (f"?{query}" if query else "")

    @field_validator("headers", "secret_headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"'{name}' is no name of a header")
            if not value.isascii() or not value.isprintable():
                raise ValueError(f"the header {name} holds characters that no header can carry; write them in ASCII")
        return headers

    @model_validator(mode="after")
    def _has_one_key(self) -> EndpointSettings:
        if self.api_key_env and self.api_key_block:
            raise ValueError("name the key's place once: api_key_env or api_key_block")
        twice = {name.lower() for name in self.headers} & {name.lower() for name in self.secret_headers}
        if twice:
            raise ValueError(f"the header {min(twice)} is in headers and in secret_headers; name it once")
        return self


class ImagePolicy(Settings):
    """What happens to an image before it is sent."""

    longest_side: PositiveInt | None = 2048
    """Larger images are scaled down to this many pixels; null never scales."""
    max_bytes: PositiveInt = 10 * 1024 * 1024
    """Encoded images above this are made smaller (JPEG, lower quality, then fewer pixels) or refused."""
    jpeg_quality: int = Field(default=90, ge=30, le=100)
    """Quality where a photo has to be encoded anew. An image that is fine as it is is sent byte for byte."""


class Price(Settings):
    """What a model costs, in US dollars per million tokens."""

    input_usd: NonNegativeFloat
    """Per million prompt tokens."""
    output_usd: NonNegativeFloat
    """Per million generated tokens."""
    cached_usd: NonNegativeFloat | None = None
    """Per million prompt tokens taken from the server's cache; null: as other prompt tokens."""


class BatchSettings(Settings):
    """How questions are put together to batches. Nothing here changes an answer."""

    most_requests: PositiveInt = 5000
    """Questions in a batch, at most; what a provider takes is never exceeded."""
    most_bytes: PositiveInt = 100 * 1024 * 1024
    """Bytes of a batch's questions with their pictures, at most; what a provider takes is never exceeded."""
    most_waiting: PositiveInt = 20_000
    """Questions that wait for an answer at a time in one process, at most; their pictures are in its memory."""
    gather_s: PositiveFloat = 5.0
    """A batch is sent when it is full, or when no question has joined it for this long."""
    poll_s: PositiveFloat = 30.0
    """Seconds between two looks at a batch that is under way."""
    unanswered: Literal["batch", "live"] = "batch"
    """What becomes of questions that a batch leaves unanswered (it expired, the server failed on them): they go into the next
    batch, or are asked live, at the full price. Which is said in the log."""
    price_factor: float = Field(default=0.5, ge=0.0, le=1.0)
    """What a batch's tokens cost, as a share of the live price (of `price`, or of the list)."""


def chats_in(settings: BaseModel) -> list[ModelSettings]:
    """All chat models that a config (a plug-in's settings) names, in the order of its fields."""
    found: list[ModelSettings] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, ModelSettings):
                found.append(part)
            elif isinstance(part, BaseModel):
                found += chats_in(part)
    return found


def refuse_batches(chats: Iterable[ModelSettings], who: str) -> None:
    """Raises UsageError where one of `chats` has `mode: batch` and `who` asks step by step: each step would wait for a batch."""
    for chat in chats:
        if chat.mode == "batch":
            raise UsageError(f"{who} asks step by step and not in batches: set mode: live for {chat.model}")


def runs_here(settings: BaseModel) -> bool:
    """Whether a config names a chat model that runs in the process that uses it, and so wants its GPU, not behind an endpoint."""
    return any(not chat.endpoints for chat in chats_in(settings))


class ModelSettings(Settings):
    """A chat model behind one or several endpoints, or in this process."""

    provider: Annotated[str, NameOf("millrace.llm.providers")] = "openai_compatible"
    """The provider: a file name in millrace/llm/providers, or a dotted path to your own module."""
    model: str = Field(default="", max_length=300)
    """The model's name as the server knows it."""
    identity: str | None = Field(default=None, min_length=1, max_length=300, json_schema_extra=OPERATIONAL)
    """Who answers, for the journal of paid answers: the same identity finds the same answers wherever the server is now. null
    takes the endpoint's base URL, so that two models of one name at two addresses are two, and a server that has moved is
    asked anew; to keep its answers, give here the base URL that it had."""
    endpoints: tuple[EndpointSettings, ...] = Field(default=(), json_schema_extra=OPERATIONAL)
    """Servers of the same model; the load is shared by what each can take. Empty for models that run in this process."""
    max_in_flight: PositiveInt = Field(default=32, json_schema_extra=OPERATIONAL)
    """Requests in flight per endpoint and process, at most. The client goes below by itself when the server is overloaded."""
    max_bytes_in_flight: PositiveInt = Field(default=256 * 1024 * 1024, json_schema_extra=OPERATIONAL)
    """Bytes of request bodies in memory per process, at most; bounds the memory that images take."""
    requests_per_minute: PositiveFloat | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """Shared by all processes of the run on one machine. null: no limit."""
    tokens_per_minute: PositiveFloat | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """As above, prompt and answer together, estimated before a call and settled after it."""
    global_limit: str | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """A global concurrency limit with slot decay on the Prefect server: requests of all runs and machines that name it."""
    timeout_s: PositiveFloat = Field(default=120.0, json_schema_extra=OPERATIONAL)
    """One attempt, from sending to the whole answer."""
    connect_timeout_s: PositiveFloat = Field(default=10.0, json_schema_extra=OPERATIONAL)
    """Until the connection stands."""
    attempts: PositiveInt = Field(default=5, json_schema_extra=OPERATIONAL)
    """Attempts per request for server errors, timeouts and broken answers. Being told to wait (429) costs none."""
    longest_answer: PositiveInt = Field(default=16_384, json_schema_extra=OPERATIONAL)
    """Tokens. An answer that breaks off at its `max_tokens` (a model may think longer than that) is asked for again with four
    times the room and then with this much; what breaks off even so is never counted as the model's failure."""
    give_up_after_s: PositiveFloat = Field(default=300.0, json_schema_extra=OPERATIONAL)
    """The run ends when no endpoint answered for this long."""
    cache: Literal["off", "run", "shared"] = Field(default="run", json_schema_extra=OPERATIONAL)
    """Where paid answers are kept for re-runs: nowhere, in the run folder, or in a folder that all runs share."""
    mode: Literal["live", "batch"] = Field(default="live", json_schema_extra=OPERATIONAL)
    """`live` asks one by one; `batch` hands the questions in as batches of the provider, mostly at half the price and answered
    within 24 hours. May be changed in the same folder: answers are kept whichever way they came."""
    batch: BatchSettings = Field(default=BatchSettings(), json_schema_extra=OPERATIONAL)
    """How batches are made; only for `mode: batch`."""
    structured: Literal["auto", "native", "json_object", "prompt"] = "auto"
    """How a JSON schema reaches the model: the server's own json_schema mode, its JSON mode, in words only; auto finds out."""
    images: ImagePolicy = ImagePolicy()
    """What happens to images before they are sent."""
    price: Price | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """null takes the list prices of genai-prices by endpoint and name; a model in neither has an unknown cost."""
    max_cost_usd: PositiveFloat | None = Field(default=None, json_schema_extra=OPERATIONAL)
    """Nothing more is sent once the run's answers cost this much; calls already in flight are still paid. Needs a known price."""
    extra: dict[str, Any] = {}
    """Fields added to every request's body, for switches of your server."""
    options: dict[str, Any] = {}
    """Settings of the provider itself; see its file."""

    @model_validator(mode="after")
    def _names_what_it_needs(self) -> ModelSettings:
        try:
            provider = load_plugin("millrace.llm.providers", self.provider, "provider")
        except UsageError as error:
            raise ValueError(str(error)) from error
        if provider.NEEDS_ENDPOINTS and not self.endpoints:
            raise ValueError(f"provider {self.provider} needs endpoints: [{{base_url: …}}]")
        if not provider.TAKES_ENDPOINTS and self.endpoints:
            raise ValueError(
                f"provider {self.provider} runs in this process; leave out endpoints, or name the provider that serves them"
            )
        if provider.NEEDS_MODEL and not self.model:
            raise ValueError(f"provider {self.provider} needs a model name")
        if self.mode == "batch":
            self._can_batch(provider.OFFERS_BATCHES)
        return self

    def _can_batch(self, offered: bool) -> None:
        if not offered:
            raise ValueError(f"provider {self.provider} has no batches here; leave out mode: batch, or set mode: live")
        if len(self.endpoints) != 1:
            raise ValueError("a batch goes to one account: mode: batch wants exactly one of endpoints")
        if self.cache == "off":
            raise ValueError("a batch's answers are kept until they are used: mode: batch cannot go with cache: off")
