"""Messages with images for LLaMA-Factory and ms-swift: `<status>/<split>.json`, `images/`, and `dataset_info.json` over them.

`dataset_dir` of LLaMA-Factory is this folder; its datasets are named `<status>_<split>`.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from millrace.qa.exports import JsonArray, instruction, store_image
from millrace.records.question import Item

COLUMNS = {"messages": "messages", "images": "images"}
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


class LlamaFactoryExport:
    """A user message with an image, an assistant message with the answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[tuple[str, str], JsonArray] = {}

    def add(self, item: Item, image: bytes, status: str, split: str) -> None:
        """Write one question, and its image unless another question brought it."""
        stored = store_image(self._folder, item, image)
        if (status, split) not in self._arrays:
            self._arrays[status, split] = JsonArray(self._folder / status / f"{split}.json")
        asked = {"role": "user", "content": f"<image>{instruction(item)}"}
        self._arrays[status, split].add(
            {
                "id": item.id,
                "messages": [asked, {"role": "assistant", "content": item.answer}],
                "images": [stored],
            }
        )

    def close(self) -> None:
        """Finish all files, and say in `dataset_info.json` what they are."""
        info = {}
        for (status, split), array in sorted(self._arrays.items()):
            array.close()
            info[f"{status}_{split}"] = {
                "file_name": f"{status}/{split}.json",
                "formatting": "sharegpt",
                "columns": COLUMNS,
                "tags": TAGS,
            }
        (self._folder / "dataset_info.json").write_bytes(orjson.dumps(info, option=orjson.OPT_INDENT_2))


def open_export(folder: Path) -> LlamaFactoryExport:
    """Begin writing into `folder`."""
    return LlamaFactoryExport(folder)
