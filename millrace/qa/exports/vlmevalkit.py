"""Tables for VLMEvalKit: `<status>_<split>_choice.tsv` with options A to D, `<status>_<split>_open.tsv` for gaps.

Columns of its TSV files: `index` (an integer), `image` (base64), `question`, `A` … `D`, `answer`, `category`; the item's id is in
`id`. Put a file into `LMUData` and name it in `--data`.
"""

from __future__ import annotations

import base64
import csv
from pathlib import Path
from typing import Any, TextIO

from millrace.qa.exports import instruction
from millrace.records.question import Item

KEYS = ("A", "B", "C", "D")


class VlmEvalKitExport:
    """One row per question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tables: dict[str, tuple[TextIO, Any]] = {}
        self._rows: dict[str, int] = {}

    def add(self, item: Item, image: bytes, status: str, split: str) -> None:
        """Write one question with its image."""
        name = f"{status}_{split}_{'choice' if item.options else 'open'}"
        if name not in self._tables:
            file = (self._folder / f"{name}.tsv").open("w", encoding="utf-8", newline="")
            table = csv.writer(file, delimiter="\t", lineterminator="\n")
            table.writerow(["index", "id", "image", "question", *(KEYS if item.options else ()), "answer", "category"])
            self._tables[name] = (file, table)
        index = self._rows[name] = self._rows.get(name, -1) + 1
        asked = item.question if item.options else instruction(item)
        options = [item.options.get(key, "") for key in KEYS] if item.options else []
        picture = base64.b64encode(image).decode()
        self._tables[name][1].writerow([index, item.id, picture, asked, *options, item.answer, item.pipeline_name])

    def close(self) -> None:
        """Finish all files."""
        for file, _ in self._tables.values():
            file.close()


def open_export(folder: Path) -> VlmEvalKitExport:
    """Begin writing into `folder`."""
    return VlmEvalKitExport(folder)
