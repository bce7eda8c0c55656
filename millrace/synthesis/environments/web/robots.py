"""robots.txt, as RFC 9309 wants it read: wildcards by `protego`, `Crawl-delay` as a turn to wait for, silence as a no."""

from __future__ import annotations

import time

from protego import Protego

ROBOTS_BYTES = 512_000
"""The longest robots.txt that is read; RFC 9309 asks for at least 500 kibibytes."""


class Rules:
    """What one origin allows, and when it was asked last."""

    def __init__(self, text: str, why: str = "") -> None:
        self._parsed = Protego.parse(text)
        self.why = why
        """Said behind a refusal whose reason is not in the file."""
        self._next = 0.0

    @classmethod
    def read(cls, body: bytes) -> Rules:
        """The rules of a file, with or without a byte order mark."""
        return cls(body.decode("utf-8-sig", "replace"))

    @classmethod
    def of_status(cls, status: int) -> Rules:
        """Without a file: 401, 403, 429 and 5xx forbid everything, any other 4xx nothing."""
        if status in (401, 403, 429) or status >= 500:
            why = "it cannot be reached" if status == 599 else f"it answers {status}"
            return cls("User-agent: *\nDisallow: /", f" ({why})")
        return cls("")

    def allow(self, agent: str, url: str) -> bool:
        """Whether an agent may fetch a page."""
        return bool(self._parsed.can_fetch(url, agent))

    def turn(self, agent: str) -> float:
        """Seconds to wait until the agent's next turn, which is taken by asking."""
        delay = float(self._parsed.crawl_delay(agent) or 0)
        now = time.monotonic()
        mine = max(self._next, now)
        self._next = mine + delay
        return mine - now
