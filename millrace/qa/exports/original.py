"""The original project's final files: `<status>/<split>/vqa_dataset_successful_<pipeline|all>.json` and `meta.json`.

Times of single questions are not recorded here, so `generated_at` and `timestamp` are null; the file names carry none either.
"""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path

from millrace.qa.exports import JsonArray
from millrace.records.question import Item
from millrace.run.journal import write_json

COPIED_BEFORE_IMAGE = (
    "id",
    "sample_index",
    "source_a_id",
    "trace_id",
    "question",
    "full_question",
    "answer",
    "question_type",
)
COPIED_AFTER_IMAGE = (
    "options",
    "correct_option",
    "explanation",
    "pipeline_name",
    "pipeline_intent",
    "answer_type",
    "validation_passed",
    "validation_score",
)
"""The original's fields, in its order; between the two stands `image_base64`."""


class OriginalExport:
    """Arrays per pipeline and one of all, for each status and split."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._arrays: dict[tuple[str, str], dict[str, JsonArray]] = {}

    def add(self, item: Item, image: bytes, status: str, split: str) -> None:
        """Write one question."""
        record = {name: getattr(item, name) for name in COPIED_BEFORE_IMAGE}
        record["image_base64"] = base64.b64encode(image).decode()
        record |= {name: getattr(item, name) for name in COPIED_AFTER_IMAGE}
        record |= {"generated_at": None, "timestamp": None}
        arrays = self._arrays.setdefault((status, split), {})
        for name in ("all", item.pipeline_name):
            if name not in arrays:
                arrays[name] = JsonArray(self._folder / status / split / f"vqa_dataset_successful_{name}.json")
            arrays[name].add(record)

    def close(self) -> None:
        """Finish all files and write each meta.json."""
        for (status, split), arrays in self._arrays.items():
            for array in arrays.values():
                array.close()
            counts = Counter({name: array.count for name, array in arrays.items() if name != "all"})
            meta = {
                "generated_at": None,
                "output_dir": f"{status}/{split}",
                "total_records": counts.total(),
                "successful_vqa_count": counts.total(),
                "pipeline_names": sorted(counts),
                "pipeline_output_files": {name: f"vqa_dataset_successful_{name}.json" for name in sorted(arrays)},
                "pipeline_counts": dict(sorted(counts.items())),
            }
            write_json(self._folder / status / split / "meta.json", meta)


def open_export(folder: Path) -> OriginalExport:
    """Begin writing into `folder`."""
    return OriginalExport(folder)
