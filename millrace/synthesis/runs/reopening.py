"""What makes a finished synthesis unfinished again: seeds that were added, and more room for answers that broke off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from millrace.llm.limits import CUT_OFF, gives_more_room
from millrace.records.synthesis import SeedOutcome
from millrace.run.folder import stored_config
from millrace.run.journal import read_json, read_records
from millrace.synthesis.runs.shard_plan import seeds_digest
from millrace.synthesis.settings import SynthesisConfig


def has_new_seeds(config: SynthesisConfig, run_dir: Path) -> bool:
    """Whether the run is finished and its seeds' file has changed since; what is done stays done."""
    if not (run_dir / "statistics.json").exists() or not config.seeds_path.is_file():
        return False
    manifest = read_json(run_dir / "manifest.json") if (run_dir / "manifest.json").exists() else {}
    entry = manifest.get("flows", {}).get("synthesis", {})
    return entry.get("state") in ("finished", "short") and entry.get("seeds_sha256") != seeds_digest(config)


def cut_off_shards(config: SynthesisConfig, run_dir: Path) -> Iterator[Path]:
    """The finished shards with seeds whose answers broke off at a limit that is higher now."""
    if config.policy != "chat" or not (before := stored_config(run_dir, "synthesis")):
        return
    try:
        raised = gives_more_room(SynthesisConfig.model_validate(before), config)
    except ValueError:
        return  # a config of another version, or another config: it will be refused
    for shard in sorted((run_dir / "synthesis" / "shards").glob("shard-*.jsonl")) if raised else ():
        if any(map(broke_off, read_records(shard, SeedOutcome))):
            yield shard


def broke_off(record: SeedOutcome) -> bool:
    """Whether an answer that a seed's record was waiting for broke off: while exploring, writing or judging."""
    failed = record.failure.reason if record.failure is not None else None
    return CUT_OFF in (failed, *(rejected.reason for rejected in record.rejected))
