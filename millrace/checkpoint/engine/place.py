"""Where a checkpoint's bytes are: a folder, a single safetensors file, or a URL that fsspec knows."""

from __future__ import annotations

import os
from array import array
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystem

from millrace.checkpoint.engine.remote_files import RemoteFiles
from millrace.checkpoint.engine.stalls import Watch
from millrace.checkpoint.engine.vector_io import Files, PosixFiles
from millrace.checkpoint.formats.safetensors_folder import INDEX_NAME, is_safetensors_file, names_in_index
from millrace.checkpoint.problems import CheckpointError
from millrace.records.checkpoint import Problem

READ_BYTES = 16 << 20
"""Asked for at a time where a file is wanted whole."""


class Place:
    """The files of a checkpoint by name, however they are reached.

    Args:
        path: the checkpoint.
        files: how bytes are read; None: as the path wants it.
        storage_options: for the fsspec file system of a URL.
    """

    def __init__(
        self, path: str | os.PathLike[str], files: Files | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> None:
        scheme, _, rest = str(path).partition("://")
        self.is_local = not rest or scheme in ("file", "local")
        self.fs: Any
        """torch's view of the file system, and `path` what it takes."""
        if self.is_local:
            self.fs = FileSystem()
            self.path: str | os.PathLike[str] = self.fs.init_path(rest or path)
            self.files: Files = files or PosixFiles()
            return
        from torch.distributed.checkpoint._fsspec_filesystem import FileSystem as RemoteFileSystem

        remote: Any = RemoteFileSystem()
        self.path = remote.init_path(path, **dict(storage_options or {}))
        self.fs = remote
        self.files = files or RemoteFiles(remote.fs)

    @staticmethod
    def is_one(path: str | os.PathLike[str]) -> bool:
        """Whether `path` is a path, or a URL that fsspec knows."""
        if "://" in str(path):
            from torch.distributed.checkpoint._fsspec_filesystem import FileSystem as RemoteFileSystem

            return RemoteFileSystem.validate_checkpoint_id(str(path))
        return FileSystem.validate_checkpoint_id(path)

    @property
    def is_single_file(self) -> bool:
        """Whether the checkpoint is one safetensors file; of a URL only its name says so."""
        return is_safetensors_file(Path(self.path)) if self.is_local else str(self.path).endswith(".safetensors")

    @property
    def folder(self) -> Path | str:
        """Where the files are, a URL as a string: for a checkpoint of a single file, the folder around it."""
        if not self.is_local:
            return str(self.path).rpartition("/")[0] if self.is_single_file else str(self.path)
        return Path(self.path).parent if self.is_single_file else Path(self.path)

    def at(self, name: str) -> Path | str:
        """Where the file `name` is."""
        folder = self.folder
        return folder / name if isinstance(folder, Path) else f"{folder.rstrip('/')}/{name}"

    def whole(self, name: str, watch: Watch) -> bytes:
        """All of a file. Raises OSError (FileNotFoundError where there is none), StalledRead."""
        return watch.wait_for(lambda: whole_file(WatchedFiles(self.files, watch), self.at(name)))

    def safetensors_names(self, watch: Watch) -> list[str]:
        """The names of its safetensors files, sorted; those of the index where there is one; none where nothing can be listed.

        Raises:
            CheckpointError: the index is damaged, or names a file outside the folder. StalledRead: there is no answer.
        """
        return watch.wait_for(lambda: self._safetensors_names(watch))

    def _safetensors_names(self, watch: Watch) -> list[str]:
        with watch.calling(INDEX_NAME):
            if self.is_single_file:
                return [PurePosixPath(self.path).name]
            if self.is_local and not Path(self.path).is_dir():
                return []
        try:
            index = whole_file(WatchedFiles(self.files, watch), self.at(INDEX_NAME))
        except FileNotFoundError:
            index = None
        except OSError as error:
            if self.is_local:
                what = f"cannot be read: {error.strerror or error}"
                raise CheckpointError(str(self.path), [Problem(what, INDEX_NAME)]) from error
            index = None  # each store has its own way to say that there is none
        if index is not None:
            return names_in_index(index, str(self.path))
        with watch.calling("*.safetensors"):
            return sorted(PurePosixPath(one).name for one in self._listed() if str(one).endswith(".safetensors"))

    def _listed(self) -> list[Any]:
        if self.is_local:
            return list(Path(self.path).iterdir())
        try:
            return list(self.fs.fs.ls(self.fs.fs._strip_protocol(str(self.path)).rstrip("/"), detail=False))
        except Exception:  # noqa: BLE001 - plain HTTP servers list nothing
            return []


class WatchedFiles:
    """Files whose every call is announced to a watch.

    Args:
        files: how bytes are read.
        watch: notes each call.
    """

    def __init__(self, files: Files, watch: Watch) -> None:
        self._files, self._watch = files, watch
        self._names: dict[int, str] = {}

    def open(self, path: Path | str) -> int:
        name = PurePosixPath(path).name
        with self._watch.calling(name):
            handle = self._files.open(path)
        self._names[handle] = name
        return handle

    def size(self, handle: int) -> int:
        with self._watch.calling(self._names[handle]):
            return self._files.size(handle)

    def read_at(self, handle: int, nbytes: int, offset: int) -> bytes:
        with self._watch.calling(self._names[handle]):
            return self._files.read_at(handle, nbytes, offset)

    def read_vector(self, handle: int, ranges: array[int], start: int, count: int, offset: int) -> int:
        with self._watch.calling(self._names[handle]):
            return self._files.read_vector(handle, ranges, start, count, offset)

    def close(self, handle: int) -> None:
        self._files.close(handle)


def whole_file(files: Files, path: Path | str) -> bytes:
    """All of a file. Raises OSError."""
    handle = files.open(path)
    try:
        size, parts, position = files.size(handle), [], 0
        while position < size:
            parts.append(files.read_at(handle, min(READ_BYTES, size - position), position))
            if not parts[-1]:
                break
            position += len(parts[-1])
    finally:
        files.close(handle)
    return parts[0] if len(parts) == 1 else b"".join(parts)
