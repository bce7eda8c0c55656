"""Outcome records as the probing writes them, and the files they come in."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

CLAIMS = {
    "entity_basic_grounding": "FR_BASIC_VISUAL_ENTITY_GROUNDING_FAILURE",
    "spatial_absolute_position": "FR_ABSOLUTE_POSITION_ERROR",
    "spatial_relative_position": "FR_RELATIVE_POSITION_ERROR",
    "counting_object_instances": "FR_OBJECT_COUNTING_CONFUSION",
    "scale_proportion_estimation": "FR_SCALE_PROPORTION_ERROR",
}


def make_outcome(number: int, claim: str = "counting_object_instances", outcome: str = "wrong", **over: Any) -> dict[str, Any]:
    """One outcome line, shaped as the probing stage writes it."""
    sha = hashlib.sha256(str(number).encode()).hexdigest()[:16]
    failed = outcome in ("wrong", "wrong_abstain", "hallucinated", "format_error")
    return {
        "kind": "outcome",
        "id": f"out_{hashlib.sha256(f'{number}/{claim}'.encode()).hexdigest()[:12]}",
        "schema": "millrace.outcome/1",
        "image": {
            "image_id": f"img_{number}",
            "file": f"part-{number % 3}.parquet",
            "row": number,
            "sha256": sha,
            "width": 96,
            "height": 96,
        },
        "claim_id": claim,
        "claim_set": "default@1",
        "claim": 'There are exactly [COUNT] red digits, "},{" they say \\ 汉字.',
        "prefilled": {"object_type": "red digits"},
        "selectors": {"OBJECT_TYPE": {"colour": "red"}},
        "answerable": True,
        "outcome": outcome,
        "failure_id": CLAIMS[claim] if failed else None,
        "baseline": {
            "name": "embedded",
            "fingerprint": "f",
            "related": True,
            "values": {"COUNT": "4"},
            "text": "There are 4.",
            "explanation": "",
            "confidence": 0.5,
        },
        "judge": {
            "by": "annotation",
            "kind": "verified",
            "correct": {"COUNT": "2"},
            "accepted": {"COUNT": ["2"]},
            "explanation": "there are 2",
        },
        "factors": ["noise"],
        "error": None,
        **over,
    }


def make_outcomes(images: int) -> list[dict[str, Any]]:
    """Every claim on every image; two of three are failures."""
    kinds = ("wrong", "correct", "hallucinated", "wrong", "right_abstain", "format_error")
    return [
        make_outcome(image, claim, kinds[(image * 7 + number) % len(kinds)])
        for image in range(images)
        for number, claim in enumerate(CLAIMS)
    ]


@pytest.fixture
def outcome() -> Callable[..., dict[str, Any]]:
    return make_outcome


@pytest.fixture
def outcomes() -> Callable[[int], list[dict[str, Any]]]:
    return make_outcomes


@pytest.fixture
def as_lines(tmp_path: Path) -> Callable[..., Path]:
    """Write records as JSON lines and give the file."""

    def write(records: Iterable[dict[str, Any] | bytes], name: str = "outcomes.jsonl") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(r if isinstance(r, bytes) else orjson.dumps(r) + b"\n" for r in records))
        return path

    return write
