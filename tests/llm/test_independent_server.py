"""The client against a server that somebody else wrote; runs only where its address is given.

litellm --config mocked.yaml --port 8012      # passed with LiteLLM's proxy 1.83.7 and a mock_response; or vLLM, Ollama …
MILLRACE_TEST_ENDPOINT=http://127.0.0.1:8012/v1 MILLRACE_TEST_MODEL=… pytest tests/llm -m online
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from millrace.llm import Reply
from millrace.llm.client.blocking import BlockingChat
from millrace.llm.open_chat import open_chat
from millrace.llm.settings import EndpointSettings, ModelSettings
from tests.llm.servers import question

URL = os.environ.get("MILLRACE_TEST_ENDPOINT")


@pytest.mark.online
@pytest.mark.skipif(URL is None, reason="needs a server of the user's: set MILLRACE_TEST_ENDPOINT and MILLRACE_TEST_MODEL")
def test_an_independent_server_is_reached_answers_and_is_paid_once(tmp_path: Path) -> None:
    assert URL is not None
    settings = ModelSettings(
        model=os.environ.get("MILLRACE_TEST_MODEL", "test-model"),
        endpoints=(EndpointSettings(base_url=URL, api_key_env=os.environ.get("MILLRACE_TEST_KEY_ENV")),),
        max_in_flight=8,
    )
    with BlockingChat(lambda: open_chat(settings, tmp_path)) as chat:
        assert chat.preflight()
        replies = chat.complete_all([question(number, max_tokens=16) for number in range(24)])
        assert [type(reply) for reply in replies] == [Reply] * 24
        assert all(reply.text for reply in replies if isinstance(reply, Reply))
        assert chat.complete(question(3, max_tokens=16)).replayed
