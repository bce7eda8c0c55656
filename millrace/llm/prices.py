"""What a call costs.

The table holds list prices in US dollars per million tokens as of 2025-11; prices change, so a config's own `price` wins, and a
model that is in neither costs an unknown amount, which is null and not 0. A model on your own server costs nothing per token:
say so with `price: {input_usd: 0, output_usd: 0}`.
"""

from __future__ import annotations

from millrace.llm import Usage
from millrace.llm.settings import ModelSettings, Price

AS_OF = "2025-11"

TABLE = {
    "gemini-2.5-pro": Price(input_usd=1.25, output_usd=10.0),
    "gemini-2.5-flash": Price(input_usd=0.30, output_usd=2.50),
    "gemini-2.5-flash-lite": Price(input_usd=0.10, output_usd=0.40),
    "gemini-2.0-flash": Price(input_usd=0.10, output_usd=0.40),
    "gpt-4o": Price(input_usd=2.50, output_usd=10.0, cached_usd=1.25),
    "gpt-4o-mini": Price(input_usd=0.15, output_usd=0.60, cached_usd=0.075),
    "gpt-4.1": Price(input_usd=2.0, output_usd=8.0, cached_usd=0.50),
    "gpt-4.1-mini": Price(input_usd=0.40, output_usd=1.60, cached_usd=0.10),
    "gpt-5": Price(input_usd=1.25, output_usd=10.0, cached_usd=0.125),
    "gpt-5-mini": Price(input_usd=0.25, output_usd=2.0, cached_usd=0.025),
}
"""Without a `cached_usd` cached tokens count in full: an upper bound. Exact names only: a name that merely begins alike
may be another model at ten times the price.
"""


def price_of(settings: ModelSettings) -> Price | None:
    """The price that counts for a model; None when it is unknown. A model in this process is not paid for by the token."""
    if settings.price is not None:
        return settings.price
    if not settings.endpoints:
        return Price(input_usd=0, output_usd=0)
    return TABLE.get(settings.model.removeprefix("models/"))


def cost_usd(usage: Usage, price: Price | None) -> float | None:
    """What these tokens cost; None when the price or the tokens are unknown."""
    if price is None:
        return None
    if price.input_usd == price.output_usd == 0:
        return 0.0
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.input_tokens)
    cached_usd = price.input_usd if price.cached_usd is None else price.cached_usd
    return ((usage.input_tokens - cached) * price.input_usd + cached * cached_usd + usage.output_tokens * price.output_usd) / 1e6
