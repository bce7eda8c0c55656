"""A real model behind `transformers serve` and behind LiteLLM: as the judge of a text, and as the policy of a synthesis run.

It is small and answers badly, in forms of its own. What is shown is whose fault that is called, not how good it is.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import millrace
from millrace.errors import ItemFailed, RunFailed
from millrace.llm import Reply, Request, system, user
from millrace.llm.client.blocking import BlockingChat
from millrace.llm.open_chat import open_chat
from millrace.llm.run_chats import ledger_of_run
from millrace.llm.settings import EndpointSettings, ModelSettings
from millrace.run.journal import read_jsonl
from millrace.synthesis.chat.judging import JUDGE_SCHEMA
from tests.servers.conftest import KEY, litellm_proxy

log = logging.getLogger(__name__)
SERVER_FAULTS = {"connection", "server", "timeout", "malformed", "overload", "rejected", "infra_error"}
FACTS = {"41 metres": "The bridge is 41 metres long.", "Lisbon": "The ship came from Lisbon.", "1912": "It was built in 1912."}


def judgement(fact: str) -> Request:
    """What synthesis asks its judge."""
    text = (
        f"Observations:\n{fact}\n\nQuestion: what does the observation say?\n\n`answer` is the short answer, `quote` the words."
    )
    return Request(
        messages=(system("You answer from evidence alone."), user(text)), schema=JUDGE_SCHEMA, temperature=0.0, max_tokens=120
    )


def asked(settings: ModelSettings, folder: Path) -> list[Reply | ItemFailed]:
    with BlockingChat(lambda: open_chat(settings, folder)) as chat:
        return list(chat.complete_all([judgement(fact) for fact in FACTS.values()]))


@pytest.fixture
def proxied(transformers_serve: str, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelSettings]:
    """The real model behind LiteLLM behind the client."""
    monkeypatch.setenv("PROXY_KEY", KEY)
    params: dict[str, object] = {"model": f"openai/{checkpoint}", "api_base": transformers_serve, "api_key": "none"}
    with litellm_proxy(tmp_path, {"judge-of-text": params}) as url:
        endpoint = EndpointSettings(base_url=url, api_key_env="PROXY_KEY")
        yield ModelSettings(model="judge-of-text", endpoints=(endpoint,), max_in_flight=2, timeout_s=300)


def test_a_real_model_judges_a_text_and_its_bad_forms_are_its_own_fault(proxied: ModelSettings, tmp_path: Path) -> None:
    replies = asked(proxied, tmp_path / "run")
    assert len(replies) == len(FACTS)
    for reply in replies:
        if isinstance(reply, Reply):
            assert reply.value is not None
            assert set(reply.value) == {"answer", "quote"}
            assert reply.usage.output_tokens
        else:
            assert reply.reason in ("no_json", "schema_violation", "cut_off"), reply
    log.info("%s", Counter(reply.reason if isinstance(reply, ItemFailed) else "usable" for reply in replies))
    again = asked(proxied, tmp_path / "run")
    told = [(reply.text, reply.replayed) for reply in again if isinstance(reply, Reply)]
    assert told == [(reply.text, True) for reply in replies if isinstance(reply, Reply)]


def test_a_real_model_explores_and_what_it_fails_at_is_never_called_the_servers_fault(
    transformers_serve: str, checkpoint: str, proxied: ModelSettings, tmp_path: Path
) -> None:
    endpoint = {"base_url": transformers_serve}
    model = {"model": checkpoint, "endpoints": [endpoint], "max_in_flight": 2, "timeout_s": 300, "extra": {"max_tokens": 160}}
    chat = {"model": model, "judge_model": proxied.model_dump(exclude_defaults=True), "tool_calls": "native"}
    settings = {"policy": "chat", "environment_mode": "math", "max_depth": 2, "min_depth": 1, "branching_factor": 1, "chat": chat}
    folder = tmp_path / "run"
    said = ""
    try:
        millrace.synthesize(folder, seeds=["the product of 12 and 34"], max_retries=1, **settings)
    except RunFailed as error:  # a model that makes nothing of its only seed is above max_failure_rate
        said = str(error)
    rows = ledger_of_run(folder)
    failures = [
        one for path in (folder / "failures.jsonl", folder / "rejected.jsonl") if path.exists() for one in read_jsonl(path)
    ]
    log.info("%s; %s; %s", [(row.stage, row.model, row.calls) for row in rows], said, failures)
    assert sum(row.calls for row in rows) > 0
    assert "endpoint" not in said
    assert not {str(one["reason"]) for one in failures} & SERVER_FAULTS
    assert failures or any(read_jsonl(folder / "qa.jsonl"))
