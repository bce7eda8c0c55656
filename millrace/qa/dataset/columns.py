"""The dataset's columns: an Arrow schema that `datasets.load_dataset` understands, images and nested options included."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import pyarrow as pa

from millrace.records.outcome import BaselineAnswer
from millrace.records.question import Item

OPTION = pa.struct([("key", pa.string()), ("text", pa.string())])
DISTRACTOR = pa.struct([("key", pa.string()), ("value", pa.string()), ("kind", pa.string())])
CHECK = pa.struct([("name", pa.string()), ("passed", pa.bool_()), ("detail", pa.string())])
IMAGE_REF = pa.struct([("image_id", pa.string()), ("file", pa.string()), ("row", pa.int64()), ("sha256", pa.string())])

FIELDS = [
    pa.field("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    pa.field("id", pa.string()),
    pa.field("sample_index", pa.int64()),
    pa.field("source_a_id", pa.string()),
    pa.field("trace_id", pa.string()),
    pa.field("question", pa.string()),
    pa.field("full_question", pa.string()),
    pa.field("question_type", pa.string()),
    pa.field("options", pa.list_(OPTION)),
    pa.field("answer", pa.string()),
    pa.field("correct_option", pa.string()),
    pa.field("answer_text", pa.string()),
    pa.field("accepted_answers", pa.list_(pa.string())),
    pa.field("explanation", pa.string()),
    pa.field("pipeline_name", pa.string()),
    pa.field("pipeline_intent", pa.string()),
    pa.field("answer_type", pa.string()),
    pa.field("language", pa.string()),
    pa.field("distractors", pa.list_(DISTRACTOR)),
    pa.field("validation_passed", pa.bool_()),
    pa.field("validation_score", pa.float64()),
    pa.field(
        "verification",
        pa.struct([("status", pa.string()), ("by", pa.string()), ("checks", pa.list_(CHECK))]),
    ),
    pa.field(
        "difficulty",
        pa.struct([("baseline_correct", pa.bool_()), ("asked", pa.int32()), ("answers", pa.list_(pa.string()))]),
    ),
    pa.field(
        "lineage",
        pa.struct(
            [
                ("image", IMAGE_REF),
                ("selection_id", pa.string()),
                ("outcome_id", pa.string()),
                ("outcome", pa.string()),
                ("failure_id", pa.string()),
                ("claim_id", pa.string()),
                ("claim", pa.string()),
                ("prefilled_values", pa.string()),
                ("answerable", pa.bool_()),
                ("baseline_name", pa.string()),
                ("baseline_fingerprint", pa.string()),
                ("baseline_answer", pa.string()),
                ("correct", pa.string()),
                ("factors", pa.list_(pa.string())),
                ("judge", pa.string()),
            ]
        ),
    ),
    pa.field(
        "provenance",
        pa.struct(
            [
                ("writer", pa.string()),
                ("template", pa.string()),
                ("variant", pa.int32()),
                ("attempt", pa.int32()),
                ("seed", pa.int64()),
                ("aspect", pa.string()),
                ("subject", pa.string()),
            ]
        ),
    ),
]
"""Values whose keys differ from claim to claim (`prefilled_values`, `baseline_answer`, `correct`, `subject`) are JSON text."""


def features_of(kind: pa.DataType) -> Any:
    """A column's type as the `datasets` library writes it down."""
    if pa.types.is_struct(kind):
        return {field.name: features_of(field.type) for field in kind}
    if pa.types.is_list(kind):
        return {"feature": features_of(kind.value_type), "_type": "List"}
    return {"dtype": "bool" if pa.types.is_boolean(kind) else str(kind).replace("double", "float64"), "_type": "Value"}


def dataset_schema() -> pa.Schema:
    """The schema with the metadata by which `datasets` knows the image column and the nested ones."""
    features = {field.name: features_of(field.type) for field in FIELDS} | {"image": {"_type": "Image"}}
    return pa.schema(FIELDS, metadata={b"huggingface": orjson.dumps({"info": {"features": features}})})


def dataset_row(item: Item, image: bytes) -> dict[str, Any]:
    """A checked question as a row."""
    plain = msgspec.to_builtins(item)
    lineage, baseline = item.lineage, item.lineage.baseline or BaselineAnswer()
    return {
        **{field.name: plain.get(field.name) for field in FIELDS},
        "image": {"bytes": image, "path": image_name(item, image)},
        "options": [{"key": key, "text": text} for key, text in item.options.items()],
        "distractors": [{"key": key, **told} for key, told in plain["distractors"].items()],
        "lineage": {
            **plain["lineage"],
            "image": plain["image"],
            "prefilled_values": _json(lineage.prefilled_values),
            "baseline_name": baseline.name or None,
            "baseline_fingerprint": baseline.fingerprint or None,
            "baseline_answer": "NOT_RELATED" if baseline.abstained else _json(baseline.said),
            "correct": _json(lineage.correct),
            "judge": lineage.judge.by or None,
        },
        "provenance": {**plain["provenance"], "aspect": item.task.aspect, "subject": _json(item.task.selectors)},
    }


def image_name(item: Item, image: bytes) -> str:
    """A file name for an item's image: one per image, with the ending of what the bytes are."""
    endings = {b"\xff\xd8\xff": "jpg", b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif", b"BM": "bmp"}
    ending = next((ending for magic, ending in endings.items() if image.startswith(magic)), "img")
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in item.image.image_id)[:80]
    return f"{safe}_{item.image.sha256[:8]}.{ending}"


def _json(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
