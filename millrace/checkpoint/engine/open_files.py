"""The files of a checkpoint by index, with a bounded number of them open."""

from __future__ import annotations

import errno
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from millrace.checkpoint.engine.stalls import Watch
from millrace.checkpoint.engine.vector_io import Files, PosixFiles, cache_state, free_handles, handle_limit
from millrace.checkpoint.formats.item_heads import HeadParser
from millrace.checkpoint.formats.safetensors_format import SafetensorsHeader, header_length, parse_header
from millrace.records.checkpoint import Problem

MOST_OPEN = 128
"""Handles kept open at a time; opening a file again costs some 10 microseconds."""


@dataclass(slots=True)
class _Handle:
    number: int
    users: int = 0


class OpenFiles:
    """Opens each file when it is read and keeps the most recently used ones open. Threads may share it.

    Args:
        folder: the checkpoint; a URL as a string.
        files: how bytes are read.
        watch: notes every call that may wait for the file system.
    """

    def __init__(self, folder: Path | str, files: Files, watch: Watch | None = None) -> None:
        self.folder = folder
        self.files = files
        self.watch = watch or Watch(None)
        self.names: list[str] = []
        self.sizes: list[int] = []
        self.cold: list[bool] = []
        self.local = type(files) is PosixFiles
        """Whether all files lie where a read can't wait for a server: their file systems say what is in memory."""
        self.heads = HeadParser()
        self._index: dict[str, int | None] = {}
        self._blobs: dict[tuple[int, int], SafetensorsHeader] = {}
        self._open: OrderedDict[int, _Handle] = OrderedDict()
        self._lock = threading.Lock()
        self._limit = max(4, min(MOST_OPEN, handle_limit() // 4, free_handles() // 2))
        self._closed = False

    def index(self, name: str, problems: list[Problem]) -> int | None:
        """The index of the file `name`; None, with a problem added the first time, where it can't be opened."""
        known = self._index.get(name, -1)
        if known != -1:
            return known
        self._index[name] = None
        if Path(name).is_absolute() or ".." in Path(name).parts:
            problems.append(Problem("the metadata names a file outside the checkpoint", name))
            return None
        file = len(self.names)
        self.names.append(name)
        self.sizes.append(-1)
        self.cold.append(False)
        try:
            with self.use(file) as handle:
                self.cold[file] = self._look(file, handle)
        except OSError as error:
            for parts in (self.names, self.sizes, self.cold):
                del parts[file]
            missing = isinstance(error, FileNotFoundError)
            problems.append(Problem("the file is missing" if missing else f"cannot be opened: {error.strerror or error}", name))
            return None
        self._index[name] = file
        return file

    def _look(self, file: int, handle: int) -> bool:
        """Whether the file is not in memory."""
        known = cache_state(handle, self.sizes[file]) if isinstance(self.files, PosixFiles) else None
        self.local = self.local and (known is not None or not self.sizes[file])
        return known is False

    def use(self, file: int) -> Use:
        """The file's handle for a `with` block, open as long as the block lasts."""
        return Use(self, file)

    def read_at(self, file: int, nbytes: int, offset: int) -> bytes:
        """Up to `nbytes` bytes from `offset` on. Raises OSError."""
        with self.use(file) as handle:
            return self.files.read_at(handle, nbytes, offset)

    def blob(self, file: int, offset: int) -> SafetensorsHeader:
        """The safetensors header that begins at `offset`."""
        if (file, offset) not in self._blobs:
            length = header_length(self.read_at(file, 8, offset))
            self._blobs[file, offset] = parse_header(self.read_at(file, length, offset + 8))
        return self._blobs[file, offset]

    def close(self) -> None:
        """Close them all; one that a thread left behind still reads from is closed when that read ends."""
        with self._lock:
            self._closed = True
            idle = [self._open.pop(file) for file, one in list(self._open.items()) if not one.users]
        self._close(idle)

    def take(self, file: int) -> int:
        """A handle, to be given back with `give_back`. Raises OSError."""
        with self._lock:
            found = self._open.get(file)
            if found is not None:
                found.users += 1
                self._open.move_to_end(file)
                return found.number
        number = self._opened(file)
        with self._lock:
            found = self._open.setdefault(file, _Handle(number))
            found.users += 1
            spare = [] if found.number == number else [_Handle(number)]
            spare += self._idle_ones(len(self._open) - self._limit)
        self._close(spare)
        return found.number

    def give_back(self, file: int) -> None:
        """The end of a use."""
        with self._lock:
            found = self._open[file]
            found.users -= 1
            over = [self._open.pop(file)] if self._closed and not found.users else []
        self._close(over)

    def _opened(self, file: int) -> int:
        name = self.names[file]
        path = self.folder / name if isinstance(self.folder, Path) else f"{self.folder.rstrip('/')}/{name}"
        try:
            number = self.files.open(path)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            with self._lock:
                self._limit = max(1, len(self._open) // 2)
                idle = self._idle_ones(len(self._open))
            self._close(idle)
            number = self.files.open(path)
        try:
            size = self.files.size(number)
            if self.sizes[file] not in (-1, size):
                raise OSError(errno.ESTALE, "it has another length than before: it is being written to")
        except OSError:
            self.files.close(number)
            raise
        self.sizes[file] = size
        return number

    def _idle_ones(self, count: int) -> list[_Handle]:
        """Up to `count` idle handles, least recently used first, removed from the cache."""
        if count <= 0:
            return []
        idle = [file for file, one in self._open.items() if not one.users][:count]
        return [self._open.pop(file) for file in idle]

    def _close(self, handles: list[_Handle]) -> None:
        for one in handles:
            self.files.close(one.number)


class Use:
    """A file's handle for the length of a block; the watch counts the block as one call."""

    __slots__ = ("_file", "_opened")

    def __init__(self, opened: OpenFiles, file: int) -> None:
        self._opened, self._file = opened, file

    def __enter__(self) -> int:
        self._opened.watch.begin(self._opened.names[self._file])
        try:
            return self._opened.take(self._file)
        except BaseException:
            self._opened.watch.end()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._opened.watch.end()
        self._opened.give_back(self._file)
