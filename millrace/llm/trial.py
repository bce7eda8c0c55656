"""The one real question that a role of a config asks before any work: with a picture, a schema, a temperature and a limit, as the
run will ask.

Whether a server lists its models says little about whether it answers; whether it answers does.
"""

from __future__ import annotations

import struct
import zlib

import msgspec
from pydantic import BaseModel

from millrace.llm import ImagePart, JsonSchema, Request, system, user
from millrace.llm.settings import ModelSettings

SIDE = 64
"""Pixels: large enough for models that refuse pictures of less than 28, small enough to cost next to nothing."""

SCHEMA: JsonSchema = {
    "title": "trial",
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "green", "blue"]}, "reason": {"type": "string"}},
    "required": ["colour", "reason"],
    "additionalProperties": False,
}


def is_trial(body: bytes) -> bool:
    """Whether a request's body is such a question."""
    return b'"title":"trial"' in body or b'\\"title\\":\\"trial\\"' in body


class Trial(msgspec.Struct, frozen=True):
    """One model in one role."""

    settings: ModelSettings
    role: str
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    pictures: bool = True

    def request(self) -> Request:
        """The question."""
        asked = user(ImagePart(data=red_picture()), "Which colour is this picture?") if self.pictures else user("What is red?")
        return Request(
            messages=(system("You look at one picture and answer one question about it."), asked),
            schema=SCHEMA,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            seed=self.seed,
            stage="preflight",
        )


def trials_in(settings: BaseModel) -> list[Trial]:
    """A trial for each chat model that a config (a plug-in's settings) names, in the order of its fields, with the temperature,
    limit and seed that the same settings give it.
    """
    found: list[Trial] = []
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, ModelSettings):
                found.append(_trial(part, settings, name))
            elif isinstance(part, BaseModel):
                found += trials_in(part)
    return found


def _trial(chat: ModelSettings, owner: BaseModel, role: str) -> Trial:
    said = dict(owner)  # by field: settings of a plug-in need not have these
    temperature = said.get("answer_temperature" if role == "answerers" else "temperature")
    return Trial(chat, role, temperature, said.get("max_tokens"), said.get("seed"))


def red_picture() -> bytes:
    """A red PNG."""
    row = b"\0" + b"\xd0\x20\x20" * SIDE
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(row * SIDE)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
