"""A run is a folder: its config, its manifest, its stages, its report.

`RUN_DIR/{config.json, manifest.json, logs/, <stage>/shard-00000.jsonl…, dataset/, report.html, summary.json}`. The folder is
the truth of progress; Prefect only shows it. Several flows can share one folder (`flows.filtering` works on that of
`flows.probing`): each has a section of its own in `config.json` and `manifest.json`.
"""

from __future__ import annotations

import errno
import fcntl
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import BaseModel

from millrace.config import fingerprint_of
from millrace.errors import MillraceError, UsageError
from millrace.run import clock
from millrace.run.journal import read_json, write_json

SCHEMA = "millrace.run/1"


class RunFolder:
    """A run's folder, held by one process at a time; use as a context manager.

    Covers: a second run in the same folder at the same time (refused), another config (refused, naming the fields), a
    killed run (the lock goes with its process). Does not cover: people who edit files inside while it runs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self.config_path = path / "config.json"
        self.manifest_path = path / "manifest.json"
        self._lock: int | None = None
        self.since = clock.now()
        """When this process took the folder: from the command line before the API and the flow were started."""

    @classmethod
    def open(cls, path: Path, sections: Mapping[str, BaseModel]) -> RunFolder:
        """Make the folder or take up the run in it, and lock it until `close`.

        Args:
            path: the folder; made with its parents when it is not there.
            sections: the config of each flow that this run stands for, by flow name.

        Raises:
            UsageError: the folder holds a run of another config, is in use, is a file or can't be written.
        """
        folder = cls.held(path, sections)
        try:
            folder._record(sections)
        except OSError as error:
            folder.close()
            raise UsageError(f"the run folder {folder.path} cannot be used: {_why(error)}") from error
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def held(cls, path: Path, sections: Mapping[str, BaseModel]) -> RunFolder:
        """As `open`, and nothing is written: the folder keeps the config that it has."""
        folder = cls(Path(path).absolute())
        folder._take()
        try:
            folder._check(sections)
        except BaseException:
            folder.close()
            raise
        return folder

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def stage(self, name: str) -> Path:
        """The folder of a stage, made when it isn't there."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def state_of(self, flow: str) -> str | None:
        """`running`, `finished`, `short` or `failed`; None: never started here."""
        state: str | None = self.manifest().get("flows", {}).get(flow, {}).get("state")
        return state

    def manifest(self) -> dict[str, Any]:
        """What the folder knows of itself; empty before the first run."""
        return _mapping(self.manifest_path)

    def finish(self, flow: str, state: str, **facts: Any) -> None:
        """Write down how `flow` ended; `facts` are kept beside the state."""
        manifest = self.manifest()
        entry = manifest.setdefault("flows", {}).setdefault(flow, {})
        entry.update({"state": state, "ended_at": _now(), **facts})
        write_json(self.manifest_path, manifest)

    def unfinish(self, names: Iterable[str]) -> None:
        """These stages, and the flows of several stages, are no longer finished."""
        manifest = self.manifest()
        for name, entry in manifest.get("flows", {}).items():
            several = not (self.path / name).is_dir()
            if (name in names or several) and entry.get("state") in ("finished", "short"):
                entry["state"] = "running"
        write_json(self.manifest_path, manifest)

    def note(self, flow: str, **facts: Any) -> None:
        """Keep facts beside the state of a flow or stage that goes on."""
        manifest = self.manifest()
        manifest.setdefault("flows", {}).setdefault(flow, {}).update(facts)
        write_json(self.manifest_path, manifest)

    def _take(self) -> None:
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise UsageError(f"the run folder {self.path} cannot be used: {_why(error)}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise UsageError(f"another run is at work in {self.path}; wait for it, or choose another --run-dir") from error
        self.since = clock.now()
        self._lock = lock

    def _check(self, sections: Mapping[str, BaseModel]) -> None:
        stored = _mapping(self.config_path)
        differing = differences(stored, sections)
        if differing:
            shown = "; ".join(f"{name}: {old} there, {new} now" for name, old, new in differing)
            raise UsageError(f"{self.path} holds a run of another config ({shown}); choose another --run-dir, or the old values")

    def _record(self, sections: Mapping[str, BaseModel]) -> None:
        stored = _mapping(self.config_path)
        stored.update({name: settings.model_dump(mode="json") for name, settings in sections.items()})
        manifest = self.manifest() or {"schema": SCHEMA, "created_at": _now(), "flows": {}}
        manifest["versions"] = versions()
        for name in sections:
            entry = manifest["flows"].setdefault(name, {"attempts": 0})
            if entry.get("state") not in ("finished", "short"):
                entry.setdefault("started_at", _now())
                entry.update({"state": "running", "attempts": entry["attempts"] + 1})
        write_json(self.config_path, stored)
        write_json(self.manifest_path, manifest)


def differences(stored: Mapping[str, Any], sections: Mapping[str, BaseModel]) -> list[tuple[str, str, str]]:
    """The fields in which a stored `config.json` differs from `sections`: (dotted name, old, new).

    Fields marked operational are left out, and so are sections that the folder does not have yet.
    """
    found: list[tuple[str, str, str]] = []
    for name, settings in sections.items():
        if name not in stored:
            continue
        try:
            old = fingerprint_of(type(settings).model_validate(stored[name]))
        except ValueError:
            old = stored[name]
        found += _differences(old, fingerprint_of(settings), name)
    return found


def stored_config(path: Path, section: str) -> Mapping[str, Any] | None:
    """The config that a run's folder keeps for a section; None where there is none."""
    found: Mapping[str, Any] | None = _mapping(path / "config.json").get(section)
    return found


def finished_state(path: Path, flow: str, sections: Mapping[str, BaseModel]) -> str | None:
    """Whether the run in `path` is complete for this config: `finished`, `short`, or None. Reads two small files.

    Raises:
        UsageError: the folder holds a run of another config.
    """
    folder = RunFolder(Path(path).absolute())
    if not folder.config_path.exists():
        return None
    folder._check(sections)
    state = folder.state_of(flow)
    return state if state in ("finished", "short") else None


def versions() -> dict[str, str | None]:
    """The versions that shape a result, for manifests and reports. None: not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("millrace", "prefect", "prefect-dask", "distributed", "torch", "numpy", "pillow", "pyarrow", "scikit-learn"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _differences(old: Any, new: Any, name: str) -> list[tuple[str, str, str]]:
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted(old.keys() | new.keys()):
            found += _differences(old.get(key), new.get(key), f"{name}.{key}")
        return found
    return [] if old == new else [(name, repr(old), repr(new))]


def _mapping(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except (MillraceError, OSError) as error:
        raise UsageError(f"{path} cannot be read ({error}); choose another --run-dir, or delete the file") from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} does not belong to a run folder; choose another --run-dir")
    return value


def _why(error: OSError) -> str:
    reasons = {
        errno.EROFS: "its file system is read-only",
        errno.EACCES: "permission denied",
        errno.EPERM: "permission denied",
        errno.ENOSPC: "the disk is full",
        errno.ENOTDIR: "a file is in the way",
        errno.EEXIST: "a file is in the way",
    }
    return reasons.get(error.errno or 0, str(error))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
