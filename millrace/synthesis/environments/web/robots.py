"""robots.txt, as RFC 9309 wants it read: wildcards by `protego`, silence as a no, kept for a day.

| what the server says | what is allowed |
|---|---|
| a file | what it says; of a longer one than 500 KiB the beginning, cut at a line |
| 404, 410 and other 4xx | everything |
| 401, 403 | nothing: the site is not for everybody |
| 429, 5xx, no answer, a redirect that leads nowhere | nothing, and it is asked again after five minutes |

A byte order mark, a character set in the header and stray bytes are read as on any page. Covers: one process; that the pages of a
host wait for each other over all processes is for `turns`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from protego import Protego

from millrace.synthesis.environments.web.charsets import text_of

ROBOTS_BYTES = 500 * 1024
"""How much of a robots.txt is read; RFC 9309 asks for at least 500 kibibytes."""

GOOD_FOR_S, BAD_FOR_S = 24 * 3600.0, 300.0
"""How long rules are kept; RFC 9309 allows a day. A server that could not answer is asked again sooner."""

KEPT = 256
"""Origins whose rules are held in memory."""

UNREACHABLE = 599
"""Stands for no status at all."""


class Rules:
    """What one origin allows."""

    def __init__(self, text: str, why: str = "", good_for_s: float = GOOD_FOR_S) -> None:
        self._parsed = Protego.parse(text)
        self.why = why
        """Said behind a refusal whose reason is not in the file."""
        self.good_for_s = good_for_s

    @classmethod
    def read(cls, body: bytes, content_type: str = "", *, cut: bool = False) -> Rules:
        """The rules of a file; `cut`: it goes on, and its last line is not whole."""
        text = text_of(body, content_type, "text/plain")
        return cls(text[: max(text.rfind("\n"), text.rfind("\r")) + 1] if cut else text)

    @classmethod
    def of_status(cls, status: int) -> Rules:
        """Without a file: 401, 403, 429 and 5xx forbid everything, any other 4xx nothing."""
        if status in (401, 403, 408, 425, 429) or status >= 500:
            why = "it cannot be reached" if status == UNREACHABLE else f"it answers {status}"
            return cls("User-agent: *\nDisallow: /", f" ({why})", GOOD_FOR_S if status in (401, 403) else BAD_FOR_S)
        return cls("")

    def allow(self, agent: str, url: str) -> bool:
        """Whether an agent may fetch a page."""
        return bool(self._parsed.can_fetch(url, agent))

    def delay_s(self, agent: str) -> float:
        """Seconds between two of the agent's requests to the host: by `Crawl-delay` or by `Request-rate`, the longer one."""
        rate = self._parsed.request_rate(agent)
        between = rate.seconds / rate.requests if rate is not None and rate.requests > 0 else 0.0
        return max(float(self._parsed.crawl_delay(agent) or 0), float(between), 0.0)


class KnownRules:
    """Origin → rules, as long as they are good; the least used make room."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rules: OrderedDict[str, tuple[float, Rules]] = OrderedDict()

    def get(self, origin: str) -> Rules | None:
        """The rules of an origin; None: they have to be asked for."""
        until, rules = self._rules.get(origin, (0.0, None))
        if rules is None or self._clock() >= until:
            self._rules.pop(origin, None)
            return None
        self._rules.move_to_end(origin)
        return rules

    def put(self, origin: str, rules: Rules) -> None:
        """Keep the rules of an origin."""
        self._rules[origin] = (self._clock() + rules.good_for_s, rules)
        self._rules.move_to_end(origin)
        while len(self._rules) > KEPT:
            self._rules.popitem(last=False)
