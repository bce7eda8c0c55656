"""One chat model for every role of the main job, to rehearse a config without paying.

    python -m millrace.llm.mock_server --port 4000 --provider millrace.testing.rehearsal:everyone

It fills the slots of claims, votes, writes questions and answers them, each from a hash of the picture and of what is asked: a
rehearsal has one right result whatever the line does. It shows that a run works, never how good a model is. It goes by any name,
so it can be all models of a config.
"""

from __future__ import annotations

import hashlib

import orjson

from millrace.llm import Reply, Request, Usage
from millrace.llm.providers.scripted import count_tokens, default_reply

PATTERNS = ("stripes", "dots", "waves", "rings", "crosses", "stars", "squares", "arrows")
WRONG_SHARE = 3
"""A vote says that one completion in so many is right."""


def everyone() -> Rehearsal:
    """The model."""
    return Rehearsal()


class Rehearsal:
    """A chat model that can do all jobs."""

    name = "rehearsal"

    async def complete(self, request: Request) -> Reply:
        """A hash in the form that is asked for."""
        title = str((request.schema or {}).get("title", ""))
        said = self.said(request, title)
        if said is None:
            return default_reply(request)
        text = orjson.dumps(said).decode()
        usage = Usage(input_tokens=count_tokens(request), output_tokens=max(1, len(text) // 4))
        return Reply(text=text, usage=usage)

    async def close(self) -> None:
        """Nothing to let go of."""

    def said(self, request: Request, title: str) -> dict[str, object] | None:
        """What a request whose schema has this title is answered; None for one that is no job of the main job's."""
        words, picture = request.messages[-1].text, picture_in(request)
        if title == "subject":
            wanted = (request.schema or {})["properties"]["values"]["properties"]
            return {"offers": True, "values": dict.fromkeys(wanted, f"the {_pattern(picture)}")}
        if title == "vote":
            slots = next((line for line in words.splitlines() if line.startswith("Slots to be filled: ")), "")
            names = [name for name in slots.removeprefix("Slots to be filled: ").split(", ") if name]
            right = dict.fromkeys(names, _pattern(picture))
            correct = toss(picture, words) % WRONG_SHARE == 0
            return {"applies": True, "is_correct": correct, "right_values": right, "explanation": "Seen so."}
        if title.startswith("draft"):
            mark = hashlib.sha256((picture + words).encode()).hexdigest()[:6]
            drawn = _pattern(mark)
            wrong = [word for word in PATTERNS if word != drawn][:3]
            return {"question": f"Which pattern is at the mark {mark}?", "right": drawn, "wrong": wrong, "explanation": "So."}
        options = dict(line.split(": ", 1) for line in words.splitlines() if line[1:3] == ": ")
        if title.startswith("question ") and options and "mark " in words:
            knows = _pattern(words.split("mark ")[1][:6]) if picture else ""
            return {"answer": next((key for key, text in options.items() if text == knows), "A")}
        return None


def picture_in(request: Request) -> str:
    """What the request's picture is known by; "" without one."""
    images = request.messages[-1].images
    return hashlib.sha256(images[0].data or b"").hexdigest() if images else ""


def toss(*parts: str) -> int:
    """A number made from a hash."""
    return int.from_bytes(hashlib.sha256("|".join(parts).encode()).digest()[:4], "big")


def _pattern(text: str) -> str:
    return PATTERNS[toss(text) % len(PATTERNS)]
