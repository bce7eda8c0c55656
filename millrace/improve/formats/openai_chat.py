"""Chat messages as OpenAI-compatible fine-tuning takes them: JSON lines, the image inside as a data URL."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path

from millrace.improve.formats import answer, question
from millrace.records.improve import TrainingRecord
from millrace.run.journal import write_jsonl

FILE = "chat.jsonl"
MIME = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif", "bmp": "image/bmp"}


def write(records: Iterable[TrainingRecord], images: Path, path: Path) -> None:
    """See `Plugin.write`."""
    write_jsonl(path, ({"messages": _messages(record, images)} for record in records))


def _messages(record: TrainingRecord, images: Path) -> list[dict[str, object]]:
    mime = MIME.get(record.image.rsplit(".", 1)[-1], "application/octet-stream")
    url = f"data:{mime};base64,{base64.b64encode((images / record.image).read_bytes()).decode()}"
    asked = [{"type": "text", "text": question(record)}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answer(record)}]
