"""The dataset in other people's formats: the protocol. One file in this folder is one format.

A plug-in is a module with a function `open_export(folder)`. What it opens gets every question with its image and its place
(status and split) and must keep the statuses in files of their own. How to write one: docs/extending/export.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import orjson

from millrace.records.question import Item

PACKAGE = "millrace.qa.exports"


class Export(Protocol):
    """One format being written."""

    def add(self, item: Item, image: bytes, status: str, split: str) -> None:
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


def folder_of(name: str) -> str:
    """The folder of an export below `exports/`: the last part of its name."""
    return name.rpartition(".")[2]


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


def store_image(folder: Path, item: Item, image: bytes) -> str:
    """Write an image into `images/`, unless another question brought it; returns its path from `folder`."""
    from millrace.qa.dataset.columns import image_name

    path = folder / "images" / image_name(item, image)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return f"images/{path.name}"


def instruction(item: Item) -> str:
    """The question with its options and how to answer it, as it is put to a chat model."""
    chinese = item.language == "zh"
    if item.options:
        how = "请只回答正确选项的字母。" if chinese else "Answer with the letter of the right option."
    else:
        how = "请只回答空格里的内容。" if chinese else "Answer with what fills the gap."
    return f"{item.full_question}\n{how}"
