"""What an endpoint can do, found once per run and kept in the run's folder, so that all its processes and every resume ask alike.

Covers: schemas that it refuses, schemas that it takes and ignores, fields of a request that it refuses or wants by another name.
What was found is only ever added to; two processes that find something at the same time keep both findings.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import orjson

from millrace.llm import JsonSchema
from millrace.records.llm import Abilities
from millrace.run.journal import write_atomic

FOLDER = "endpoints"


class KnownAbilities:
    """The findings about one endpoint; `folder` None keeps them in memory."""

    def __init__(self, folder: Path | None, base_url: str, model: str) -> None:
        self.now = Abilities(base_url=base_url, model=model)
        name = hashlib.blake2b(f"{base_url}\n{model}".encode(), digest_size=8).hexdigest()
        self._path = None if folder is None else folder / FOLDER / f"{name}.json"
        self.refresh()

    def refresh(self) -> None:
        """Take in what other processes found."""
        if self._path is None:
            return
        try:
            self.now = msgspec.json.decode(self._path.read_bytes(), type=Abilities)
        except (OSError, msgspec.DecodeError):
            return  # none yet; what a damaged file held is found out again

    @property
    def digest(self) -> str:
        """What stands for all that is known now."""
        return hashlib.blake2b(msgspec.json.encode(self.now), digest_size=8).hexdigest()

    def learn(self, change: Callable[[Abilities], Abilities]) -> None:
        """Add a finding to what all processes know."""
        if self._path is None:
            self.now = change(self.now)
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refresh()
            self.now = change(self.now)
            write_atomic(self._path, orjson.dumps(msgspec.to_builtins(self.now), option=orjson.OPT_INDENT_2))


def schema_name(schema: JsonSchema) -> str:
    """What stands for a schema among the findings."""
    return hashlib.blake2b(orjson.dumps(schema, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
