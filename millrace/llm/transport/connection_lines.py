"""What is known of the connection that an exchange uses: whether it stands, how long it was idle, whether an answer began.

aiohttp does not say which connection of its pool a request was given. From this follows whether a request on a connection that
the server closed while it was idle may be sent again.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import aiohttp

STALE_AFTER_S = 1.0
"""A connection that breaks at the first byte after less idle time than this was not closed for being idle: that is an error."""


class Line:
    """What is known of the connection that one exchange uses."""

    def __init__(self) -> None:
        self.stands = False
        self.idle_s: float | None = None
        """How long it had been idle; None for a new one."""
        self.heard = False
        """A byte of the answer came, as far as that is watched (on connections that were idle for long)."""
        self._protocol: Any = None

    @property
    def may_be_stale(self) -> bool:
        """Whether the server may have closed it for being idle just when the request was sent."""
        return self.idle_s is not None and self.idle_s >= STALE_AFTER_S and not self.heard

    def begin(self, protocol: Any) -> None:
        """The connection stands."""
        self.stands = True
        self._protocol = protocol
        since = _idle_since.get(protocol)
        self.idle_s = None if since is None else time.monotonic() - since
        if self.may_be_stale:
            take = protocol.data_received

            def data_received(data: bytes) -> None:
                self.heard = True
                protocol.data_received = take
                take(data)

            protocol.data_received = data_received

    def over(self) -> None:
        """The whole answer is there: the connection is idle from now on."""
        _idle_since[self._protocol] = time.monotonic()


CURRENT: ContextVar[Line] = ContextVar("line of an exchange")
"""The connection of the exchange that this task makes."""

_idle_since: WeakKeyDictionary[Any, float] = WeakKeyDictionary()
"""Since when a connection's protocol has nothing to do, on the monotonic clock."""


class NoticingConnector(aiohttp.TCPConnector):
    """Tells each exchange when its connection stands and how long that one had been idle."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        """A connection from the pool, or a new one."""
        connection = await super().connect(req, traces, timeout)
        CURRENT.get().begin(connection.protocol)
        return connection
