"""Rows for reinforcement learning with verl: `<status>/<split>.jsonl` with `prompt`, `images`, `reward_model`, `extra_info`.

`custom_reward_function.path` is this file, `custom_reward_function.name` is `compute_score`. It pays the option's key or words,
and in a gap every accepted wording; the answer is what stands after the last "answer:" or in the last box, else the reply.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from millrace.qa.exports import instruction, store_image
from millrace.records.question import Item

SAID = re.compile(r"\\boxed\{([^{}]*)\}|(?:answer(?: is)?|答案(?:是|为)?)\s*[:：]?\s*([^\n]+)", re.IGNORECASE)


class VerlExport:
    """One prompt per question."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[tuple[str, str], BinaryIO] = {}

    def add(self, item: Item, image: bytes, status: str, split: str) -> None:
        """Write one question, and its image unless another question brought it."""
        stored = store_image(self._folder, item, image)
        if (status, split) not in self._files:
            rows = self._folder / status / f"{split}.jsonl"
            rows.parent.mkdir(parents=True, exist_ok=True)
            self._files[status, split] = rows.open("wb")
        row = {
            "data_source": "millrace/vqa",
            "prompt": [{"role": "user", "content": f"<image>{instruction(item)}"}],
            "images": [{"image": stored}],
            "ability": item.pipeline_name,
            "reward_model": {"style": "rule", "ground_truth": item.answer},
            "extra_info": {
                "id": item.id,
                "split": split,
                "status": status,
                "accepted": [item.answer, item.answer_text] if item.options else list(item.accepted_answers),
            },
        }
        self._files[status, split].write(orjson.dumps(row) + b"\n")

    def close(self) -> None:
        """Finish all files."""
        for file in self._files.values():
            file.close()


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None, **options: object
) -> float:
    """1.0 for a reply that says an accepted answer, else 0.0.

    Args:
        data_source: of the row; not looked at.
        solution_str: the reply.
        ground_truth: the option's key, or the words for a gap.
        extra_info: of the row; `accepted` holds all wordings that count.
        options: of verl; not looked at.
    """
    del data_source, options
    accepted = [ground_truth, *((extra_info or {}).get("accepted") or ())]
    found = [boxed or said for boxed, said in SAID.findall(solution_str)]
    said = found[-1] if found else solution_str
    return float(_plain(said) in {_plain(text) for text in accepted})


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip(" \t\n.,;:!?。，()*\"'`").casefold()


def open_export(folder: Path) -> VerlExport:
    """Begin writing into `folder`."""
    return VerlExport(folder)
