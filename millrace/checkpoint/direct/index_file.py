"""A checkpoint's whereabouts kept in a file, so that the next load needs no metadata: it is a hint, and never trusted.

Covers: an index of other metadata, a damaged one, one that another user wrote (it is signed with a key that only this user can
read), one that points out of the files: each is ignored, and the metadata read. Heads are compared with those in the data files
whenever they are used. Does not cover: a home folder that can't be written to, where there is no key: no index is kept or read.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

import msgspec
import numpy as np

from millrace.checkpoint.direct.whereabouts import Whereabouts, is_plain
from millrace.checkpoint.engine.vector_io import PosixFiles, open_regular
from millrace.checkpoint.formats.item_heads import parse_head
from millrace.checkpoint.formats.item_pickle import UnusualItemError

INDEX_FILE = ".millrace-index"
_MAGIC = b"millrace-index/1"
LEAST_NAMES = 200
"""Smaller checkpoints are read as fast without."""
_FREE_NBYTES = 1 << 20
KEY_NBYTES = 32


class _Payload(msgspec.Struct, array_like=True):
    """What is written."""

    metadata_sha256: bytes
    files: list[str]
    names: list[str]
    table: bytes
    """File, offset, length and kind of each, in 64-bit numbers of this machine's order."""
    heads: list[tuple[bytes, int]]
    """The first bytes of each kind, and how long such an item is."""


def read_index(folder: Path, metadata: bytes) -> Whereabouts | None:
    """What an index beside the checkpoint, or in the user's cache, says of it; None: there is none to be believed.

    Whether all of it lies within the data files is not yet looked at: see `Whereabouts.is_within`.
    """
    digest, key = hashlib.sha256(metadata).digest(), _key()
    if key is None:
        return None
    for path in (folder / INDEX_FILE, _cached(folder)):
        data = _read(path, 4 * len(metadata) + _FREE_NBYTES)
        if data is not None and (found := _decoded(data, digest, key)) is not None:
            return found
    return None


def write_index(folder: Path, metadata: bytes, where: Whereabouts) -> Path | None:
    """Keep it beside the checkpoint, or in the user's cache where that can't be written to; None: neither can."""
    key = _key()
    if key is None:
        return None
    table = np.stack([where.file, where.offset, where.length, where.kind], axis=1).astype("<i8").tobytes()
    lengths = {int(kind): int(length) for kind, length in zip(where.kind, where.length, strict=True)}
    heads = [(head.raw, lengths[kind]) for kind, head in enumerate(where.heads)]
    payload = msgspec.msgpack.encode(_Payload(hashlib.sha256(metadata).digest(), where.files, where.names, table, heads))
    data = _MAGIC + hmac.digest(key, payload, "sha256") + payload
    for path in (folder / INDEX_FILE, _cached(folder)):
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, data, mode=(folder / ".metadata").stat().st_mode & 0o666)
            return path
    return None


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "millrace"


def _key() -> bytes | None:
    """This user's key, made when it is first needed; None where none can be kept, or others can read it."""
    path = _home() / "index-key"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix="index-key.", dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(KEY_NBYTES))
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(temporary)
            Path(temporary).unlink()
        own = path.stat(follow_symlinks=False)
        if own.st_uid != os.geteuid() or own.st_mode & 0o077:
            return None
        key = _read(path, KEY_NBYTES)
    except (OSError, RuntimeError):  # the second where the user has no home
        return None
    return key if key is not None and len(key) == KEY_NBYTES else None


def _cached(folder: Path) -> Path:
    return _home() / "checkpoints" / hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()


def _replace(path: Path, data: bytes, mode: int) -> None:
    """Put the file there, all or nothing."""
    handle, temporary = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path, most: int) -> bytes | None:
    """A file of at most so many bytes; None where there is none."""
    try:
        handle = open_regular(path)
    except OSError:
        return None
    try:
        return PosixFiles().read_at(handle, most, 0) if os.fstat(handle).st_size <= most else None
    except OSError:
        return None
    finally:
        os.close(handle)


def _decoded(data: bytes, digest: bytes, key: bytes) -> Whereabouts | None:
    payload = data[len(_MAGIC) + 32 :]
    if not hmac.compare_digest(data[: len(_MAGIC) + 32], _MAGIC + hmac.digest(key, payload, "sha256")):
        return None
    try:
        found = msgspec.msgpack.decode(payload, type=_Payload)
        if found.metadata_sha256 != digest or len(found.table) != 32 * len(found.names):
            return None
        table = np.frombuffer(found.table, dtype="<i8").astype(np.int64).reshape(-1, 4)
        if len(set(found.names)) < len(found.names) or len(set(found.files)) < len(found.files):
            return None
        heads = [parse_head(raw, length) for raw, length in found.heads]
    except (ValueError, RecursionError, UnusualItemError):  # msgspec's errors are of the first kind
        return None
    if not all(is_plain(head) and head.raw == raw for head, (raw, _) in zip(heads, found.heads, strict=True)):
        return None
    file, offset, length, kind = (table[:, column] for column in range(4))
    return Whereabouts(found.files, found.names, file, offset, length, kind, heads)
