"""One chat model for every job of a run: it completes claims by tossing coins, chooses subjects, votes, writes and answers.

Each answer is made from a hash of what is asked, so a run against it has one right result, whatever the line does.

    python -m millrace.llm.mock_server --provider tests.e2e.crowd:crowd
"""

from __future__ import annotations

from typing import Any

import orjson

from millrace.digits.baseline.served import BaselineChat
from millrace.llm import Reply, Request, Usage
from millrace.llm.providers.scripted import count_tokens
from millrace.testing.rehearsal import Rehearsal, picture_in, toss
from tests.probing.coin_baseline import BaselineSettings, CoinBaseline


def crowd(opinion: str = "") -> Crowd:
    """The model; those of another opinion vote otherwise about one reply in eight."""
    return Crowd(opinion)


class Crowd(BaselineChat):
    """A chat model that can do all jobs."""

    def __init__(self, opinion: str) -> None:
        super().__init__(CoinBaseline(BaselineSettings()))
        self._opinion = opinion
        self._jobs = Rehearsal()

    @property
    def name(self) -> str:
        """`crowd`, with its opinion."""
        return f"crowd{self._opinion}"

    async def complete(self, request: Request) -> Reply:
        """Coins for claims and for the baseline's questions, a hash for everything else."""
        title = str((request.schema or {}).get("title", ""))
        asked = request.messages[0].text.startswith("You answer questions.")
        if title.startswith("claim ") or (title.startswith("question ") and not asked):
            return await super().complete(request)
        text = orjson.dumps(self._said(request, title)).decode()
        usage = Usage(input_tokens=count_tokens(request), output_tokens=len(text) // 4)
        return Reply(text=text, usage=usage, model=self.name)

    def _said(self, request: Request, title: str) -> dict[str, Any] | None:
        said = self._jobs.said(request, title)
        words, picture = request.messages[-1].text, picture_in(request)
        if said is not None and title == "subject":
            return {**said, "offers": toss(picture, words) % 5 > 0}
        if said is not None and title == "vote":
            dissents = bool(self._opinion) and toss(picture, words, self._opinion) % 8 == 0
            return {**said, "is_correct": said["is_correct"] != dissents}
        return said
