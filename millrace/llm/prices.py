"""What a call costs: by the config's own `price`, else by the list prices of the library `genai-prices`.

The library knows dated names, cached tokens and the higher prices of long contexts, so a call is priced by itself and never a sum
of calls. Its table is that of the installed version; nothing is downloaded. A model that is in neither costs an unknown amount,
which is null and not 0. A model on your own server costs nothing per token: say so with `price: {input_usd: 0, output_usd: 0}`.
"""

from __future__ import annotations

import re
from importlib.metadata import version

from millrace.llm import Usage
from millrace.llm.settings import ModelSettings, Price
from millrace.records.llm import ListPrice

CLOSED = re.compile(r"gpt-(?!oss)|chatgpt|o\d\b|claude|gemini")
"""Names that only their makers serve: behind an unknown address (a proxy) they still cost what their makers ask. Any
other model there is one of your own, whatever others take for the same weights.
"""

_OWNERS = re.compile(r"^(models|openai|azure|google|gemini|vertex_ai|anthropic|openrouter)/")


def price_of(settings: ModelSettings) -> Price | ListPrice | None:
    """The price that counts for a model; None when it is unknown. A model in this process is not paid for by the token."""
    if settings.price is not None:
        return settings.price
    if not settings.endpoints:
        return Price(input_usd=0, output_usd=0)
    name = settings.model
    while (plain := _OWNERS.sub("", name)) != name:
        name = plain
    found = [_listed(name, settings.model, endpoint.base_url) for endpoint in settings.endpoints]
    return found[0] if len(set(found)) == 1 else None  # endpoints at different prices: which one answers is not known


def cost_usd(usage: Usage, price: Price | ListPrice | None) -> float | None:
    """What the tokens of one call cost; None when the price or the tokens are unknown."""
    if price is None:
        return None
    if isinstance(price, Price) and price.input_usd == price.output_usd == 0:
        return 0.0
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = min(usage.cached_tokens or 0, usage.input_tokens)
    if isinstance(price, ListPrice):
        return _by_list(price, usage.input_tokens, usage.output_tokens, cached)
    cached_usd = price.input_usd if price.cached_usd is None else price.cached_usd
    return ((usage.input_tokens - cached) * price.input_usd + cached * cached_usd + usage.output_tokens * price.output_usd) / 1e6


def list_name() -> str:
    """Which list of prices counts, for messages."""
    return f"the list prices of genai-prices {version('genai-prices')}"


def _listed(name: str, whole: str, base_url: str) -> ListPrice | None:
    import genai_prices  # a large table: only where something is paid for

    usage = genai_prices.Usage(input_tokens=1, output_tokens=1)
    for model in dict.fromkeys((whole, name)):
        try:
            found = genai_prices.calc_price(usage, model, provider_api_url=base_url)
        except LookupError:
            continue
        return ListPrice(model=found.model.id, provider=found.provider.id)
    if not CLOSED.match(name):
        return None
    try:
        found = genai_prices.calc_price(usage, name)
    except LookupError:
        return None
    return ListPrice(model=found.model.id, provider=found.provider.id)


def _by_list(price: ListPrice, input_tokens: int, output_tokens: int, cached: int) -> float | None:
    import genai_prices

    usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached)
    try:
        return float(genai_prices.calc_price(usage, price.model, provider_id=price.provider).total_price)
    except (LookupError, ValueError):
        return None
