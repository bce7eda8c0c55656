"""One chat model for every job of a run: it completes claims by tossing coins, chooses subjects, votes, writes and answers.

Each answer is made from a hash of what is asked, so a run against it has one right result, whatever the line does.

    python -m millrace.llm.mock_server --provider tests.e2e.crowd:crowd
"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from millrace.digits.baseline.served import BaselineChat
from millrace.llm import Reply, Request, Usage
from millrace.llm.providers.scripted import count_tokens
from tests.probing.coin_baseline import BaselineSettings, CoinBaseline

WORDS = ("stripes", "dots", "waves", "rings", "crosses", "stars", "squares", "arrows")


def crowd(opinion: str = "") -> Crowd:
    """The model; those of another opinion vote otherwise about one reply in eight."""
    return Crowd(opinion)


class Crowd(BaselineChat):
    """A chat model that can do all jobs."""

    def __init__(self, opinion: str) -> None:
        super().__init__(CoinBaseline(BaselineSettings()))
        self._opinion = opinion

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

    def _said(self, request: Request, title: str) -> dict[str, Any]:
        words = request.messages[-1].text
        images = request.messages[-1].images
        picture = hashlib.sha256(images[0].data or b"").hexdigest() if images else ""
        if title == "subject":
            wanted = (request.schema or {})["properties"]["values"]["properties"]
            return {"offers": toss(picture, words) % 5 > 0, "values": dict.fromkeys(wanted, f"the {pattern(picture)}")}
        if title == "vote":
            dissents = bool(self._opinion) and toss(picture, words, self._opinion) % 8 == 0
            slots = next(line for line in words.splitlines() if line.startswith("Slots to be filled: "))
            right = dict.fromkeys(slots.removeprefix("Slots to be filled: ").split(", "), pattern(picture))
            correct = (toss(picture, words) % 3 == 0) != dissents
            return {"applies": True, "is_correct": correct, "right_values": right, "explanation": "Seen so."}
        if title.startswith("draft"):
            mark = hashlib.sha256((picture + words).encode()).hexdigest()[:6]
            drawn = pattern(mark)
            wrong = [word for word in WORDS if word != drawn][:3]
            return {"question": f"Which pattern is at the mark {mark}?", "right": drawn, "wrong": wrong, "explanation": "So."}
        options = dict(line.split(": ", 1) for line in words.splitlines() if line[1:3] == ": ")
        knows = pattern(words.split("mark ")[1][:6]) if images else "nothing"
        return {"answer": next((key for key, text in options.items() if text == knows), "A")}


def toss(*parts: str) -> int:
    """A number made from a hash."""
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:4], "big")


def pattern(text: str) -> str:
    """One of the words, by a hash."""
    return WORDS[toss(text) % len(WORDS)]
