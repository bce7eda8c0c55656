"""Conversations as LLaVA and ShareGPT tools take them: one JSON array, images as paths below the folder of images."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from millrace.improve.formats import answer, question
from millrace.records.improve import TrainingRecord
from millrace.run.journal import write_json

FILE = "llava.json"


def write(records: Iterable[TrainingRecord], images: Path, path: Path) -> None:
    """See `Plugin.write`."""
    del images
    write_json(
        path,
        [
            {
                "id": record.id,
                "image": record.image,
                "conversations": [
                    {"from": "human", "value": f"<image>\n{question(record)}"},
                    {"from": "gpt", "value": answer(record)},
                ],
            }
            for record in records
        ],
    )
