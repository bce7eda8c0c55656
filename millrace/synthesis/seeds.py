"""Reads seeds, one at a time: a JSON list, JSONL (texts or `{"content", "kwargs"}`), or plain lines.

A file that is not what it should be is refused as a whole; a single bad seed is handed on with the reason, to become a failure
record. Covers: files larger than memory in all three formats (a JSON list is parsed item by item).
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from millrace.errors import InputError
from millrace.records.trajectories import Seed
from millrace.run.ids import content_id

CHUNK_CHARS = 1 << 16


def make_seed(raw: Any, *, max_chars: int) -> Seed:
    """A seed from a JSON value: a text, or an object with `content` and optional `kwargs`."""
    kwargs: Any = {}
    if isinstance(raw, dict) and "content" in raw:
        kwargs = raw.get("kwargs") or {}
        raw = raw["content"]
    if not _unicode(raw) or not _unicode(kwargs):
        return _bad(json.dumps(raw), "seed_not_unicode", "half of a surrogate pair stands alone in it: no text can hold that")
    if not isinstance(raw, str) or not isinstance(kwargs, dict):
        return _bad(
            json.dumps(raw, ensure_ascii=False, default=str), "seed_not_text", f"a seed is a text, not a {type(raw).__name__}"
        )
    content = unicodedata.normalize("NFC", raw).strip()
    if not content:
        return _bad("", "seed_empty", "a seed must hold some text")
    if len(content) > max_chars:
        return _bad(content, "seed_too_long", f"{len(content)} characters; max_seed_chars is {max_chars}")
    if "\ufffd" in content:
        return _bad(content, "seed_not_utf8", "the text holds bytes that are not UTF-8")
    source_id = content_id("src", content, kwargs) if kwargs else content_id("src", content)
    return Seed(source_id=source_id, content=content, kwargs=kwargs)


def read_seeds(path: Path, *, max_chars: int = 20_000, limit: int | None = None) -> Iterator[Seed]:
    """The seeds of a file, in order, repeats included; at most `limit`.

    Raises:
        InputError: there is no such file, it is empty, or it is not in one of the formats.
    """
    if not path.is_file():
        raise InputError(f"there is no seeds file {path}")
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        start = file.read(CHUNK_CHARS)
    if not start.strip():
        raise InputError(f"the seeds file {path} is empty")
    if path.suffix.lower() == ".json" or (path.suffix.lower() not in (".txt", ".jsonl") and start.lstrip().startswith("[")):
        values = _items(path)
    elif path.suffix.lower() == ".jsonl":
        values = _json_lines(path)
    else:
        values = _lines(path)
    count = 0
    for count, value in enumerate(values, 1):
        if limit is not None and count > limit:
            return
        yield value if isinstance(value, Seed) else make_seed(value, max_chars=max_chars)
    if not count:
        raise InputError(f"the seeds file {path} holds no seed")


def _unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def _bad(content: str, problem: str, detail: str) -> Seed:
    return Seed(source_id=content_id("src", problem, content), content=content[:200], problem=problem, detail=detail)


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                yield line.rstrip("\n")


def _json_lines(path: Path) -> Iterator[Any]:
    for line in _lines(path):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            yield _bad(line, "seed_not_json", f"not a JSON value: {error}")


def _items(path: Path) -> Iterator[Any]:
    """The items of a JSON list, without holding the list."""
    decoder = json.JSONDecoder()
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        buffer = file.read(CHUNK_CHARS).lstrip()
        if not buffer.startswith("["):
            raise InputError(f"{path} must hold a JSON list of seeds")
        buffer, ended, begun, due = buffer[1:], False, False, True  # due: a value must come, or, at first, the list's end
        while True:
            buffer = buffer.lstrip(" \t\r\n")
            if buffer[:1] == "]" and (not due or not begun):
                if (buffer[1:] + file.read()).strip():
                    raise InputError(f"{path} goes on after the end of its list: '{buffer[1:41].strip()}'")
                return
            if buffer[:1] == "," and not due:
                buffer, due = buffer[1:], True
                continue
            if buffer and not due:
                raise InputError(f"{path} is not a JSON list: a comma is missing before '{buffer[:40]}'")
            try:
                value, end = decoder.raw_decode(buffer)
                complete = ended or end < len(buffer)
            except json.JSONDecodeError as error:
                if ended and buffer:
                    raise InputError(f"{path} is not a JSON list: {error.msg} near '{buffer[:40]}'") from error
                complete = False
            if complete:
                yield value
                buffer, begun, due = buffer[end:], True, False
                continue
            more = file.read(max(CHUNK_CHARS, len(buffer)))
            ended = not more
            if ended and not buffer:
                raise InputError(f"{path} ends before its list does")
            buffer += more
