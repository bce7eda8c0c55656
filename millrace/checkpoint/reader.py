"""A stand-in for torch's `FileSystemReader` that reads at the speed of memory.

    dcp.load(state_dict, storage_reader=ParallelFileSystemReader(path))

is all that changes for a user. What this engine can't do for an item, torch's own code does, for that item only.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner
from torch.futures import Future

from millrace.checkpoint.engine.gc_pause import HeapFreeze, gc_paused
from millrace.checkpoint.engine.place import Place, WatchedFiles
from millrace.checkpoint.engine.read_plan import Strictness
from millrace.checkpoint.engine.stalls import STALL_S, StalledRead, Watch
from millrace.checkpoint.engine.vector_io import Files
from millrace.checkpoint.formats.dcp_metadata import read_metadata
from millrace.checkpoint.formats.safetensors_folder import folder_metadata
from millrace.checkpoint.metrics import ReadMetrics
from millrace.checkpoint.one_load import ByteItems, LoadOptions, OneLoad
from millrace.checkpoint.problems import CheckpointError
from millrace.checkpoint.unread import UnreadMetadata, why_no_metadata
from millrace.records.checkpoint import Problem

FREEZE_FROM = 1000
"""Saved items from which on it pays to keep the metadata out of the garbage collector's rounds: its guard is a thread."""


class ParallelFileSystemReader(FileSystemReader):
    """Reads `torch.distributed.checkpoint` folders and Hugging Face safetensors folders, in parallel and in place.

    Covers: everything that torch's `FileSystemReader` loads, with the same result: any planner, any sharding, other dtypes,
    devices and strides, byte items, transforms, remote paths; plus the safetensors serialization. Files are checked before
    anything is written to. All failing items are collected into one `CheckpointError`. Does not cover: two files of
    equal shapes swapped with each other, unless the checkpoint is sealed (see `millrace.checkpoint.seal`).

    Args:
        path: the checkpoint's folder, or a URL that fsspec knows (s3://, gs://, http:// …), read in ranges side by side.
        threads: reading threads; None: from cores, ranks on this machine and bytes.
        on_progress: called as `(done, total)` in bytes, on the thread that loads.
        verify: `none` trusts the files; `size` (default) checks lengths, heads and shapes; `crc` first sums every item that
            will be read and compares with the stored CRC-32, before any destination is touched.
        byte_items: what becomes of values whose unpickling could run foreign code; plain data, numpy arrays, random states,
            dates, paths and enumerations always load. `skip` (default) leaves those in the state dict as they are and warns
            with their names, `error` refuses the load before anything is touched (`checked` is its old name), `trusted` hands
            all to the planner unseen, as torch does.
        allow_globals: classes of the user's own that `.metadata` and byte items may name.
        max_staging_bytes: memory for what can't be read in place; None: from available memory, at most 48 MiB.
        stall_s: how long one read may have no answer before the load ends with the file's name; None: for ever.
        enable_parallel: False means one thread.
        max_workers: another name for `threads`.
        storage_options: for the fsspec file system of a URL: credentials, endpoint and the like.
        files: how bytes are read; for tests.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        verify: Strictness = "size",
        byte_items: ByteItems = "skip",
        allow_globals: tuple[type, ...] = (),
        max_staging_bytes: int | None = None,
        stall_s: float | None = STALL_S,
        enable_parallel: bool = True,
        max_workers: int | None = None,
        storage_options: Mapping[str, Any] | None = None,
        files: Files | None = None,
        _extension_registry: Any = None,
    ) -> None:
        if verify not in ("none", "size", "crc"):
            raise ValueError(f"verify is 'none', 'size' or 'crc', not {verify!r}")
        if byte_items not in ("error", "skip", "trusted", "checked"):
            raise ValueError(f"byte_items is 'error', 'skip' or 'trusted', not {byte_items!r}")
        wanted = threads if threads is not None else max_workers
        if wanted is not None and wanted < 1:
            raise ValueError(f"threads must be at least 1, not {wanted}")
        if stall_s is not None and stall_s <= 0:
            raise ValueError(f"stall_s must be more than 0, or None, not {stall_s}")
        super().__init__(path, _extension_registry=_extension_registry)
        self.threads = wanted if enable_parallel else 1
        self.on_progress = on_progress
        self.verify: Strictness = verify
        self.byte_items = "error" if byte_items == "checked" else byte_items
        self.allow_globals = allow_globals
        self.max_staging_bytes = max_staging_bytes
        self.stall_s = stall_s
        self.files = files
        self.storage_options = dict(storage_options or {})
        self._go_to(path)
        self.metrics = ReadMetrics()
        self._tensors: dict[str, Any] = {}
        self._freeze = HeapFreeze()
        self._unread: CheckpointError | None = None

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Forget the last load; with `checkpoint_id`, turn to another checkpoint."""
        super().reset(None)
        if checkpoint_id:
            self._go_to(checkpoint_id)
        self._freeze.thaw()
        self._unread = None

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether this reader takes `checkpoint_id`: a path, or a URL that fsspec knows."""
        return Place.is_one(checkpoint_id)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The checkpoint's metadata, of torch's own records and nothing else; made from the headers for a safetensors folder.

        `dcp.load` asks a second time, for this rank's own metadata, when the first answer was an error, and makes an
        AssertionError of both. So the second answer is an `UnreadMetadata`, which raises the first error where it is used.

        Raises:
            CheckpointError: the folder isn't a checkpoint, isn't finished, or can't be read. UntrustedCheckpoint: its
                metadata asks for code.
        """
        start = perf_counter()
        self._freeze.thaw()
        rank = kwargs.get("rank")
        try:
            metadata = self._metadata(rank)
        except CheckpointError as error:
            if rank is None:
                self._unread = error
                raise
            if self._unread is None:
                raise
            if not isinstance(error.__cause__, FileNotFoundError):
                self._unread = CheckpointError(str(self.path), (*self._unread.problems, *error.problems))
            return UnreadMetadata(self._unread)
        self._unread = None
        if getattr(metadata, "storage_meta", None) is None:
            metadata.storage_meta = StorageMeta()
        metadata.storage_meta.load_id = self.load_id  # type: ignore[union-attr]
        self.metrics = ReadMetrics(metadata_s=perf_counter() - start)
        return metadata

    def _metadata(self, rank: int | None) -> Metadata:
        name = f"__{rank}.metadata" if rank is not None else ".metadata"
        watch = Watch(self.stall_s)
        try:
            return self._found_metadata(rank, name, watch)
        except StalledRead as stalled:
            raise CheckpointError(str(self.path), [Problem(str(stalled), stalled.file)]) from stalled

    def _found_metadata(self, rank: int | None, name: str, watch: Watch) -> Metadata:
        place = self._place
        try:
            if place.is_single_file:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
            data = place.whole(name, watch)
        except OSError as error:
            files = place.safetensors_names(watch) if rank is None and isinstance(error, FileNotFoundError) else []
            if files:
                return watch.wait_for(lambda: folder_metadata(place.folder, WatchedFiles(place.files, watch), files))
            why = why_no_metadata(Path(self.path) if place.is_local else None, error)
            raise CheckpointError(str(self.path), [Problem(why, name)]) from error
        return read_metadata(io.BytesIO(data), where=str(self.path), file=name, allow=self.allow_globals)

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Take over where things are stored.

        Raises:
            CheckpointError: the metadata could not be read.
        """
        if isinstance(metadata, UnreadMetadata):
            raise metadata.error()
        super().set_up_storage_reader(metadata, is_coordinator, *args, **kwargs)
        self._tensors = metadata.state_dict_metadata
        if "rank" in kwargs and len(metadata.storage_data) >= FREEZE_FROM:  # as `dcp.load` calls: the planner comes next
            self._freeze.freeze()

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Fill all destinations of `plan`; `metrics` says afterwards what was done.

        Raises:
            CheckpointError: naming every file, tensor and offset that failed, and whether a destination was touched.
        """
        start = perf_counter()
        try:
            with gc_paused():
                self._one_load().read(plan, planner)
        finally:
            self._freeze.thaw()
            self.metrics.seconds = perf_counter() - start
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _one_load(self) -> OneLoad:
        options = LoadOptions(
            threads=self.threads,
            on_progress=self.on_progress,
            verify=self.verify,
            byte_items=self.byte_items,
            allow_globals=self.allow_globals,
            max_staging_bytes=self.max_staging_bytes,
            stall_s=self.stall_s,
        )
        return OneLoad(
            self._place,
            options,
            storage=self.storage_data,
            tensors=self._tensors,
            transforms=self.transforms,
            metrics=self.metrics,
        )

    def _go_to(self, path: str | os.PathLike[str]) -> None:
        self._place = Place(path, self.files, self.storage_options)
        self.fs, self.path = self._place.fs, self._place.path
