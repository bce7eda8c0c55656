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
    """`dataset/README.md`: what is in the dataset, how it was made and checked in this run, and what it is not."""
    items, name = statistics["items"], config.environment_mode
    kinds = "\n".join(f"| {kind} | {count} |" for kind, count in statistics["question_kinds"].items())
    rejected = ", ".join(f"{reason} {count}" for reason, count in statistics["rejected"].items()) or "none"
    said = "\n".join(f"- {line}" for line in (*_how(config, statistics), *_source(config)))
    text = f"""---
language: [{", ".join(statistics["languages"]) or "en"}]
task_categories: [question-answering]
---
# Questions and answers: {name}

{items["verified"]} verified, {items["judged"]} judged, {items["unverified"]} unverified questions.
The three kinds never share a file.

{said}
- Rejected: {rejected}.
- Seeds: {statistics["seeds"]["different"]}, how they were understood: {statistics["seed_match"]}
  (`fallback`: chosen by hash, the seed said nothing usable).

| last question kind | items |
|---|---|
{kinds}
"""
    write_atomic(folder / "dataset" / "README.md", text)


def _how(config: SynthesisConfig, statistics: Mapping[str, Any]) -> list[str]:
    """How this run made and checked its items; nothing is said of a check that it did not make."""
    items, name = statistics["items"], config.environment_mode.rpartition(".")[2]
    if config.policy != "chat":
        found = [f"Planned by the policy `{config.policy}` and worded by templates."]
        if config.policy == "programmatic":
            found = ["Planned by a program and worded by templates; no language model took part."]
        if items["verified"]:
            found += [
                f"Hops: median {statistics['median_hops']}; each hop changes the answer (checked).",
                f"Verified means: the verifier of `{name}`, which shares no code path with the tools, computed all values again.",
                "The calls were repeated with the same observations. The answer does not stand in the question.",
            ]
        return found
    chat = config.chat
    writer = chat.model.model if chat.model is not None else config.model_name
    found = [f"Explored and worded by the chat model {writer}."]
    if items["verified"]:
        found.append(
            "Verified means: a program read the question back and computed its answer with an exact tool; the same came out."
        )
    if items["judged"] and chat.judge_model is not None:
        found.append(
            f"Judged means: {chat.judge_model.model}, which was not shown the answer, gave the same one from the observations, "
            "with a quotation from them. No program has proven it."
        )
    if items["unverified"]:
        found.append(
            "Unverified means: the answer stands in an observation, and nobody has checked that it answers the question."
        )
    return found


def _source(config: SynthesisConfig) -> list[str]:
    """What the observations quote, as far as this run's settings say it."""
    options = config.environment_kwargs
    own = {"rag": ("corpus", "rag_index"), "web": ("search_url", "site_folder")}.get(config.environment_mode, ())
    given = [f"{key} {options[key]}" for key in own if options.get(key)]
    if given:
        return [f"Observations quote {', '.join(given)}: mind its licence."]
    return [LICENCES.get(config.environment_mode, "No outside text is quoted by the default tools.")]


def write_parquet(folder: Path) -> int:
    """`dataset/verified.parquet`: `qa.jsonl` as a table, nested fields as JSON text; `judged.parquet` for judged items, if any.

    Returns:
        The number of verified rows.
    """
    if (folder / "judged.jsonl").exists():
        _write_table(folder / "judged.jsonl", folder / "dataset" / "judged.parquet")
    return _write_table(folder / "qa.jsonl", folder / "dataset" / "verified.parquet")


def _write_table(source: Path, path: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [(name, pa.string()) for name in ("qa_id", "question", "answer", "answer_type", "language", "source_id", "trajectory_id")]
        + [("hops", pa.int32()), ("template", pa.string()), ("verifier", pa.string()), ("reasoning_steps", pa.string())]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    rows: list[dict[str, Any]] = []
    total = 0
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for item in read_jsonl(source):
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
