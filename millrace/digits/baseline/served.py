"""The embedded baseline as a chat model, so that a run against endpoints can be rehearsed without one.

    python -m millrace.llm.mock_server --provider millrace.digits.baseline.served:embedded_chat

It answers the claims and the questions that `baselines/endpoint.py` writes by looking at the picture, and anything else (a
judge's vote, a writer's draft) by a scripted value of the right form. A rehearsal shows that a run works, not how good a judge
is.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson

from millrace.compat.claim_files import PLACEHOLDER
from millrace.errors import ItemFailed
from millrace.lake.images import decode_image
from millrace.llm import Reply, Request, Usage
from millrace.llm.providers.scripted import count_tokens, default_reply
from millrace.probing.baselines import Baseline, ClaimPrompt, Question, baseline_settings, open_baseline
from millrace.probing.baselines.endpoint import NOT_RELATED
from millrace.probing.claims import Claim, load_claims
from millrace.probing.preparation import prepare_baseline


def embedded_chat() -> BaselineChat:
    """The embedded baseline, trained now or found in the cache, as a chat model."""
    with tempfile.TemporaryDirectory() as logs:
        prepare_baseline({"name": "embedded"}, Path(logs), lambda done, total: None)
    return BaselineChat(open_baseline(baseline_settings({"name": "embedded"})))


class BaselineChat:
    """A chat model in front of any baseline."""

    def __init__(self, baseline: Baseline, claims: str = "default") -> None:
        self._baseline = baseline
        self._claims = {claim.claim_id: claim for claim in load_claims(claims).claims}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="baseline")

    @property
    def name(self) -> str:
        """The baseline's name."""
        return self._baseline.name

    async def complete(self, request: Request) -> Reply:
        """The baseline's answer where the request is a claim or a question about a picture."""
        title = str((request.schema or {}).get("title", ""))
        images = [part for message in request.messages for part in message.images]
        if not images or images[0].data is None or not title.startswith(("claim ", "question ")):
            return default_reply(request)
        value = await asyncio.get_running_loop().run_in_executor(self._thread, self._value, request, title, images[0].data)
        text = orjson.dumps(value).decode()
        usage = Usage(input_tokens=count_tokens(request), output_tokens=len(text) // 4)
        return Reply(text=text, usage=usage, model=self.name)

    async def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _value(self, request: Request, title: str, data: bytes) -> dict[str, str | bool | dict[str, str]]:
        image = decode_image(data)
        kind, _, name = title.partition(" ")
        words = request.messages[-1].text
        if kind == "question":
            schema: Any = request.schema
            keys = schema["properties"]["answer"].get("enum", ())
            (answer,) = self._baseline.answer(image, [question_in(words, name, keys)])
            return {"answer": answer}
        claim = self._claims.get(name)
        if claim is None:
            raise ItemFailed("unknown_claim", f"the rehearsal knows the claims {', '.join(self._claims)}, not '{name}'")
        (completion,) = self._baseline.complete(image, [prompt_in(words, claim)])
        if isinstance(completion, Exception):
            raise ItemFailed("baseline_failed", str(completion))
        values = {slot: completion.values.get(slot, NOT_RELATED) for slot in claim.answer_slots}
        return {"is_related": completion.related, "values": values, "explanation": completion.explanation or "As seen."}


def prompt_in(words: str, claim: Claim) -> ClaimPrompt:
    """The prompt that was put into words: the subject is read off the statement's place in the template.

    Raises:
        ItemFailed: the statement is not one of the claim.
    """
    statement = next((line.removeprefix("Statement: ") for line in words.splitlines() if line.startswith("Statement: ")), "")
    template, end, pattern = claim.claim_template, 0, ""
    seen: set[str] = set()
    for gap in PLACEHOLDER.finditer(template):
        name = gap.group(1) or gap.group(2)
        pattern += re.escape(template[end : gap.start()])
        if name not in claim.prefill_slots:
            pattern += re.escape(gap.group(0))
        else:
            pattern += f"(?P={name})" if name in seen else f"(?P<{name}>.+?)"
            seen.add(name)
        end = gap.end()
    found = re.fullmatch(pattern + re.escape(template[end:]), statement, re.IGNORECASE)
    if found is None:
        raise ItemFailed("unknown_statement", f"'{statement[:100]}' is not the claim {claim.claim_id}")
    return ClaimPrompt(
        claim_id=claim.claim_id,
        text=statement,
        slots={name: list(claim.slots[name].values) for name in claim.answer_slots},
        instructions=claim.baseline_instructions,
        not_related_conditions=claim.not_related_conditions,
        expected_outputs=claim.expected_outputs,
        subject={name: text if found.start(name) else text[:1].lower() + text[1:] for name, text in found.groupdict().items()},
    )


def question_in(words: str, kind: str, keys: Collection[str]) -> Question:
    """The question that was put into words."""
    lines = words.splitlines()
    options: dict[str, str] = {}
    for line in lines:
        key, sign, text = line.partition(": ")
        if sign and key in keys and key not in options:
            options[key] = text
    asked = [line for line in lines if not line.startswith("Answer with ") and line.partition(": ")[0] not in options]
    known: Any = kind
    return Question("\n".join(asked), options, known)
