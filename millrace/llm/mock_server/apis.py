"""The APIs that the mock server speaks: which path is which, and how each writes requests and replies."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from millrace.llm import Reply, Request
from millrace.llm.mock_server import chat_bodies, message_bodies, response_bodies


class Api(NamedTuple):
    """One way of writing requests and replies."""

    request_of: Callable[[bytes], Request]
    """The request in a body; raises ValueError where there is none."""
    body_of: Callable[[Reply, str, int], bytes]
    """A reply, the model's name and the number of the request as the body of the answer."""


CHAT = Api(chat_bodies.request_of, chat_bodies.body_of)

_APIS = {
    r"/v1/chat/completions": CHAT,
    r"/openai/v1/chat/completions": CHAT,
    r"/openai/deployments/[^/]+/chat/completions": CHAT,
    r"/v1/messages": Api(message_bodies.request_of, message_bodies.body_of),
    r"/v1/responses": Api(response_bodies.request_of, response_bodies.body_of),
}


def api_at(path: str) -> Api | None:
    """What is spoken at `path`; None for nothing."""
    return next((api for pattern, api in _APIS.items() if re.fullmatch(pattern, path)), None)
