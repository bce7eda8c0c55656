"""Conversations as LLaVA and ShareGPT tools take them: `<status>/<split>.json`, with the image files under `images/`."""

from __future__ import annotations

from pathlib import Path

from millrace.qa.exports import JsonArray, instruction, store_image
from millrace.records.question import Item


class LlavaExport:
    """Two turns per question: the image and the question, the answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[tuple[str, str], JsonArray] = {}

    def add(self, item: Item, image: bytes, status: str, split: str) -> None:
        """Write one question, and its image unless another question brought it."""
        stored = store_image(self._folder, item, image)
        if (status, split) not in self._arrays:
            self._arrays[status, split] = JsonArray(self._folder / status / f"{split}.json")
        self._arrays[status, split].add(
            {
                "id": item.id,
                "image": stored,
                "conversations": [
                    {"from": "human", "value": f"<image>\n{instruction(item)}"},
                    {"from": "gpt", "value": item.answer},
                ],
            }
        )

    def close(self) -> None:
        """Finish all files."""
        for array in self._arrays.values():
            array.close()


def open_export(folder: Path) -> LlavaExport:
    """Begin writing into `folder`."""
    return LlavaExport(folder)
