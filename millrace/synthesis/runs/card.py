"""The dataset folder's card and table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from millrace.run.journal import read_jsonl, write_atomic
from millrace.synthesis.settings import SynthesisConfig

ROWS_PER_GROUP = 5_000

LICENCES = {
    "rag": "Observations quote the documentation of CPython (PSF License Version 2) when the default corpus is used.",
    "web": "Facts are from the tz database (public domain), which takes no position on legal or territorial claims.",
}


def write_card(config: SynthesisConfig, statistics: Mapping[str, Any], folder: Path) -> None:
    """`dataset/README.md`: what is in the dataset, how it was made and checked, and what it is not."""
    items, name = statistics["items"], config.environment_mode
    kinds = "\n".join(f"| {kind} | {count} |" for kind, count in statistics["question_kinds"].items())
    rejected = ", ".join(f"{reason} {count}" for reason, count in statistics["rejected"].items()) or "none"
    made = (
        "planned by a program; no language model took part"
        if config.policy == "programmatic"
        else f"explored by {config.model_name}"
    )
    text = f"""---
language: [{", ".join(statistics["languages"]) or "en"}]
task_categories: [question-answering]
---
# Questions with proven answers: {name}

{items["verified"]} verified, {items["judged"]} judged, {items["unverified"]} unverified questions, {made}.
The three kinds never share a file.
The wording comes from templates: what is real are the steps, the tool calls with their observations, and the checked answers.

- Hops: median {statistics["median_hops"]}; each hop changes the answer (checked).
- Verified means: all values were computed a second time by `verifiers/{name.rpartition(".")[2]}.py`, which shares no
  code path with the tools; the calls were repeated with the same observations; the answer does not stand in the question.
- Rejected: {rejected}.
- Seeds: {statistics["seeds"]["different"]}, how they were understood: {statistics["seed_match"]}
  (`fallback`: chosen by hash, the seed said nothing usable).
- {LICENCES.get(name, "No outside text is quoted by the default tools.")}

| last question kind | items |
|---|---|
{kinds}
"""
    write_atomic(folder / "dataset" / "README.md", text)


def write_parquet(folder: Path) -> int:
    """`dataset/verified.parquet`: `qa.jsonl` as a table, nested fields as JSON text. Returns the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [(name, pa.string()) for name in ("qa_id", "question", "answer", "answer_type", "language", "source_id", "trajectory_id")]
        + [("hops", pa.int32()), ("template", pa.string()), ("verifier", pa.string()), ("reasoning_steps", pa.string())]
    )
    path = folder / "dataset" / "verified.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    rows: list[dict[str, Any]] = []
    total = 0
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for item in read_jsonl(folder / "qa.jsonl"):
            rows.append(
                {field: item[field] for field in schema.names[:7]}
                | {
                    "hops": item["quality"]["hops"],
                    "template": item["provenance"]["template"],
                    "verifier": orjson.dumps(item["verifier"]).decode(),
                    "reasoning_steps": orjson.dumps(item["reasoning_steps"]).decode(),
                }
            )
            total += 1
            if len(rows) == ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))
    temporary.replace(path)
    return total
