"""Chat messages as OpenAI-compatible fine-tuning takes them: `<status>/<split>.jsonl`, the image inside as a data URL."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import BinaryIO

import orjson

from millrace.qa.dataset.columns import image_name
from millrace.qa.exports import instruction
from millrace.records.question import Item

MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif", "bmp": "image/bmp"}


class OpenaiChatExport:
    """One line per question: a user message with text and image, an assistant message with the answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, str], BinaryIO] = {}

    def add(self, item: Item, image: bytes, status: str, split: str) -> None:
        """Write one question."""
        if (status, split) not in self._files:
            path = self._folder / status / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._files[status, split] = path.open("wb")
        mime = MIME.get(image_name(item, image).rsplit(".", 1)[-1], "application/octet-stream")
        url = f"data:{mime};base64,{base64.b64encode(image).decode()}"
        asked = [{"type": "text", "text": instruction(item)}, {"type": "image_url", "image_url": {"url": url}}]
        answered = [{"type": "text", "text": item.answer}]  # a list as well: a column of two kinds is refused by Arrow
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        self._files[status, split].write(orjson.dumps({"messages": messages}) + b"\n")

    def close(self) -> None:
        """Finish all files."""
        for file in self._files.values():
            file.close()


def open_export(folder: Path) -> OpenaiChatExport:
    """Begin writing into `folder`."""
    return OpenaiChatExport(folder)
