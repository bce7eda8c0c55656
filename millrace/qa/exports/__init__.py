"""The dataset in other people's formats: the protocol. One file in this folder is one format.

A plug-in is a module with a function `open_export(folder)`. What it opens gets every question with its image and its place
(status and split) and must keep the statuses in files of their own. How to write one: docs/extending/export.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import orjson

PACKAGE = "millrace.qa.exports"


class Export(Protocol):
    """One format being written."""

    def add(self, item: Mapping[str, Any], image: bytes, status: str, split: str) -> None:
        """Write one question."""
        ...

    def close(self) -> None:
        """Finish all files."""
        ...


class Plugin(Protocol):
    """What a module in this folder has."""

    def open_export(self, folder: Path) -> Export:
        """Begin writing into `folder`, which is there and empty."""
        ...


class JsonArray:
    """A JSON array written element by element, so that it never has to be in memory."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self.count = 0

    def add(self, value: Any) -> None:
        """Append an element."""
        self._file.write((b",\n" if self.count else b"[\n") + orjson.dumps(value))
        self.count += 1

    def close(self) -> None:
        """Write the end."""
        self._file.write(b"\n]\n" if self.count else b"[]\n")
        self._file.close()


def instruction(item: Mapping[str, Any]) -> str:
    """The question with its options and how to answer it, as it is put to a chat model."""
    chinese = item["language"] == "zh"
    if item["options"]:
        how = "请只回答正确选项的字母。" if chinese else "Answer with the letter of the right option."
    else:
        how = "请只回答空格里的内容。" if chinese else "Answer with what fills the gap."
    return f"{item['full_question']}\n{how}"
