"""The dataset folder's card and table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import orjson

from millrace.records.record import encode
from millrace.records.synthesis import QAItem
from millrace.records.synthesis_counts import Statistics
from millrace.run.journal import read_records, write_atomic
from millrace.synthesis.chat.judging import ITSELF, doubts_about
from millrace.synthesis.runs.assemble import EXPORTED, STATUS_FILES
from millrace.synthesis.settings import SynthesisConfig

ROWS_PER_GROUP = 5_000

LICENCES = {
    "rag": "Observations quote the documentation of CPython (PSF License Version 2).",
    "web": "Facts are from the tz database (public domain), which takes no position on legal or territorial claims.",
}


def write_card(config: SynthesisConfig, statistics: Statistics, folder: Path) -> None:
    """`dataset/README.md`: what is in the dataset, how it was made and checked in this run, and what it is not."""
    items, name = statistics.items, config.environment_mode
    kinds = "\n".join(f"| {kind} | {count} |" for kind, count in statistics.question_kinds.items())
    rejected = ", ".join(f"{reason} {count}" for reason, count in statistics.rejected.items()) or "none"
    seen = _seen_in(folder)
    said = "\n".join(f"- {line}" for line in (*_how(config, statistics, seen), *_source(config), *_worlds(seen)))
    text = f"""---
language: [{", ".join(statistics.languages) or "en"}]
task_categories: [question-answering]
{_loading(folder)}---
# Questions and answers: {name}

{items.verified} verified, {items.judged} judged, {items.unverified} unverified questions.
The three kinds never share a file.

{said}
- `load_dataset(FOLDER, "verified")` reads the table; rows for training are in the `.jsonl` files, one shape to a file:
  `load_dataset("json", data_files=FILE)`. What is judged lies under `judged/` and in `judged.parquet`, its status in each row.
- Rejected: {rejected}.
- Seeds: {statistics.seeds.different}, how they were understood: {statistics.seed_match}
  (`fallback`: chosen by hash, the seed said nothing usable).

| last question kind | items |
|---|---|
{kinds}
"""
    write_atomic(folder / "dataset" / "README.md", text)


@dataclass(frozen=True)
class _Seen:
    """What the items themselves say."""

    worlds: Counter[str]
    """The versions that answers depend on, and how many items have them."""
    proven_by: Counter[str]
    """Verifiers of verified items."""
    models: Counter[str]
    """Who wrote: models of items that have one."""
    judged_by_writer: int
    """Judged items whose judge may be the writer."""


def _seen_in(folder: Path) -> _Seen:
    worlds, proven_by, models, by_writer = Counter[str](), Counter[str](), Counter[str](), 0
    for status, name in STATUS_FILES.items():
        for item in read_records(folder / name, QAItem) if (folder / name).exists() else ():
            worlds[", ".join(f"{key} {value}" for key, value in sorted(item.verifier.args.world.items()))] += 1
            models[item.provenance.model or ""] += 1
            if status == "verified":
                proven_by[item.verifier.name or ""] += 1
            by_writer += any(check.name == "judge" and ITSELF in check.detail for check in item.verification.checks)
    return _Seen(worlds, proven_by, models, by_writer)


def _worlds(seen: _Seen) -> list[str]:
    """The versions of the data and tools that the answers depend on, as the items name them."""
    named = [(world, count) for world, count in seen.worlds.most_common() if world]
    return [f"The answers hold for: {world}{f' ({count} items)' if len(named) > 1 else ''}." for world, count in named]


def _loading(folder: Path) -> str:
    """The tables as configurations that `load_dataset` reads: it takes one format from a folder, and not the rows beside them."""
    tables = [status for status, name in STATUS_FILES.items() if (folder / name).exists() and status in EXPORTED]
    return "configs:\n" + "".join(f"- config_name: {status}\n  data_files: {status}.parquet\n" for status in tables)


def _how(config: SynthesisConfig, statistics: Statistics, seen: _Seen) -> list[str]:
    """How this run made and checked its items; nothing is said of a check that it did not make."""
    items, name = statistics.items, config.environment_mode.rpartition(".")[2]
    if config.policy != "chat":
        found = [f"Planned by the policy `{config.policy}` and worded by templates."]
        if config.policy == "programmatic":
            found = ["Planned by a program and worded by templates; no language model took part."]
        if items.verified:
            found += [
                f"Hops: median {statistics.median_hops}; each hop changes the answer (checked).",
                f"Verified means: the verifier of `{name}`, which shares no code path with the tools, computed all values again.",
                "The calls were repeated with the same observations. The answer does not stand in the question.",
            ]
        return found
    chat = config.chat
    writer = chat.model.model if chat.model is not None else config.model_name
    found = [f"Explored and worded by the chat model {writer}."]
    if items.verified:
        by = ", ".join(f"{verifier} {count}" for verifier, count in sorted(seen.proven_by.items()))
        found.append(
            f"Verified means: a program read the question back and computed its answer anew; the same came out ({by}). "
            "Its hops were not checked one by one."
        )
    if items.judged and chat.judge_model is not None:
        found.append(
            f"Judged means: {chat.judge_model.model}, which was not shown the answer, gave the same one from the observations, "
            "with a quotation from them that says it. No program has proven it."
        )
    if seen.judged_by_writer:
        why = doubts_about(config) or "by their servers' names they are one"
        found.append(f"Of the judged, {seen.judged_by_writer} were judged by what may be the model that wrote them: {why}.")
    if items.unverified:
        found.append("Unverified means: an observation says the answer, and nothing has checked that it answers the question.")
    return found


def _source(config: SynthesisConfig) -> list[str]:
    """What the observations quote, as far as this run's settings say it."""
    options = config.environment_kwargs
    own = {"rag": ("corpus", "rag_index"), "web": ("search_url", "site_folder")}.get(config.environment_mode, ())
    given = [f"{key} {options[key]}" for key in own if options.get(key)]
    if own and own[0] == "corpus" and not options.get("corpus") and not Path(str(options.get("rag_index"))).exists():
        given = []  # the original's placeholder: the default corpus was used
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
        + [
            ("status", pa.string()),
            ("hops", pa.int32()),
            ("template", pa.string()),
            ("verifier", pa.string()),
            ("reasoning_steps", pa.string()),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    rows: list[dict[str, str | int]] = []
    total = 0
    with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for item in read_records(source, QAItem):
            rows.append(
                {field: getattr(item, field) for field in schema.names[:7]}
                | {
                    "status": item.verification.status,
                    "hops": item.quality.hops,
                    "template": item.provenance.template,
                    "verifier": encode(item.verifier).decode(),
                    "reasoning_steps": orjson.dumps(msgspec.to_builtins(item.reasoning_steps)).decode(),
                }
            )
            total += 1
            if len(rows) == ROWS_PER_GROUP:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))
    temporary.replace(path)
    return total
