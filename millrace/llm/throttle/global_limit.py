"""A rate that all machines and all runs share: a global concurrency limit with slot decay on the Prefect server.

    prefect gcl create gemini --limit 60 --slot-decay-per-second 10       # 600 requests a minute, at most 60 at once

`RateBudget` (rates.py) holds the processes of a run on one machine together and costs microseconds. This one holds everybody
together who names the same limit and the same server, and costs an HTTP call of some 10 ms for each block of requests.

Covers: any number of runs, processes and machines. Does not cover: requests in a block that a killed process had taken (they
count as sent); a server that is away (requests wait until it answers again).
"""

from __future__ import annotations

import asyncio
import time
import urllib.error
import urllib.parse

from millrace.errors import UsageError
from millrace.prefect_rest import ask_server, configured_api

BLOCK_S = 1.0
"""A block is what comes up in a second: one HTTP call a second and process, and little is lost with a killed one."""

BLOCK_ENDS_S = 5.0
"""A block that was not used up in this time is dropped: the server has long filled up what its slots stood for."""

AWAY_WAIT_S = 2.0
"""Between two questions to a server that does not answer."""


class GlobalLimit:
    """Waits until a request may be sent.

    Args:
        name: the limit's, on the configured Prefect server.

    Raises:
        UsageError: no server is configured or answers, or it has no such limit with a slot decay.
    """

    def __init__(self, name: str) -> None:
        url = configured_api()
        if not url:
            raise UsageError(f"global_limit '{name}' is on a Prefect server, but none is configured: set PREFECT_API_URL")
        self._url, self._name = url, name
        try:
            found = ask_server(url, f"v2/concurrency_limits/{urllib.parse.quote(name, safe='')}")
            limit, decay, self._active = int(found["limit"]), float(found["slot_decay_per_second"]), bool(found["active"])
        except urllib.error.HTTPError as error:
            if error.code == 404:
                make = f"prefect gcl create {name} --limit 60 --slot-decay-per-second 10"
                raise UsageError(f"the Prefect server at {url} has no global limit '{name}'; make it: {make}") from None
            raise UsageError(f"the Prefect server at {url} does not tell of the limit '{name}': HTTP {error.code}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"the limit '{name}' cannot be read from {url}: {type(error).__name__}") from None
        if decay <= 0:
            raise UsageError(f"the global concurrency limit '{name}' is no rate: it has no slot decay per second")
        self._block = max(1, min(limit, int(decay * BLOCK_S)))
        self._held = 0
        self._until = 0.0
        self._queue = asyncio.Lock()

    async def acquire(self) -> None:
        """Wait for the right to send one request."""
        if not self._active:
            return
        async with self._queue:
            while self._held < 1 or time.monotonic() > self._until:
                wait_s = await asyncio.to_thread(self._take_block)
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
            self._held -= 1

    def _take_block(self) -> float:
        """0 and a block is held, or the seconds to wait."""
        body = {"names": [self._name], "slots": self._block, "mode": "rate_limit"}
        try:
            ask_server(self._url, "v2/concurrency_limits/increment", body)
        except urllib.error.HTTPError as error:
            return float(error.headers.get("Retry-After") or AWAY_WAIT_S)
        except (OSError, ValueError):
            return AWAY_WAIT_S
        self._held, self._until = self._block, time.monotonic() + BLOCK_ENDS_S
        return 0.0
