"""A stand-in for torch's `FileSystemReader` that reads at the speed of memory.

    dcp.load(state_dict, storage_reader=ParallelFileSystemReader(path))

is all that changes for a user. What this engine can't do for an item, torch's own code does, for that item only.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystem, FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta
from torch.distributed.checkpoint.planner import LoadPlan, LoadPlanner, ReadItem
from torch.futures import Future

from millrace.checkpoint.checksums import CheckedItem, crc_problems
from millrace.checkpoint.engine.coverage import holes
from millrace.checkpoint.engine.gc_pause import HeapFreeze, gc_paused
from millrace.checkpoint.engine.loading import Loading
from millrace.checkpoint.engine.open_files import OpenFiles
from millrace.checkpoint.engine.read_engine import Engine, threads_for
from millrace.checkpoint.engine.read_plan import ReadPlan, Strictness, plan_reads
from millrace.checkpoint.engine.remote_files import REMOTE_THREADS
from millrace.checkpoint.engine.stalls import StalledRead, Watch
from millrace.checkpoint.engine.vector_io import Files, PosixFiles, read_regular
from millrace.checkpoint.formats.byte_items import refusal
from millrace.checkpoint.formats.dcp_metadata import read_metadata
from millrace.checkpoint.formats.safetensors_folder import (
    folder_metadata,
    is_safetensors_file,
    remote_safetensors,
    safetensors_files,
)
from millrace.checkpoint.metrics import ReadMetrics
from millrace.checkpoint.problems import SHOWN, CheckpointError, Problem
from millrace.checkpoint.seal import read_seal
from millrace.checkpoint.settings import STALL_S
from millrace.checkpoint.unread import UnreadMetadata, why_no_metadata
from millrace.checkpoint.whole_items import WholeItems

SMALL_LOAD = 4 << 20
"""Below this many bytes threads cost more than they bring: the calling thread reads."""
FREEZE_FROM = 1000
"""Saved items from which on it pays to keep the metadata out of the garbage collector's rounds: its guard is a thread."""
ByteItems = Literal["error", "skip", "trusted", "checked"]
HOW_TO_LOAD = "byte_items='trusted' loads all of them as torch does, allow_globals=(...) those of your own classes"
KEPT_BYTES = 16 << 20
"""How many bytes of checked byte items are kept until they are handed over; others are read and checked again."""


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
        self._use_path(path)
        self.metrics = ReadMetrics()
        self._tensors: dict[str, Any] = {}
        self._freeze = HeapFreeze()
        self._unread: CheckpointError | None = None

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Forget the last load; with `checkpoint_id`, turn to another checkpoint."""
        super().reset(None)
        if checkpoint_id:
            self._use_path(checkpoint_id)
        self._freeze.thaw()
        self._unread = None

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Whether this reader takes `checkpoint_id`: a path, or a URL that fsspec knows."""
        if "://" in str(checkpoint_id):
            from torch.distributed.checkpoint._fsspec_filesystem import FileSystem as RemoteFileSystem

            return RemoteFileSystem.validate_checkpoint_id(str(checkpoint_id))
        return FileSystem.validate_checkpoint_id(checkpoint_id)

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
        path = self._get_metadata_path(rank)
        name = f"__{rank}.metadata" if rank is not None else ".metadata"
        watch = Watch(self.stall_s)
        if rank is None and self._local and not Path(path).exists():
            files = [Path(self.path).name] if is_safetensors_file(Path(self.path)) else safetensors_files(Path(self.path))
            if files:
                return watch.wait_for(lambda: folder_metadata(self._folder(), self._bytes, files))
        try:
            data = watch.wait_for(lambda: self._whole_file(path))
            return read_metadata(data, where=str(self.path), file=name, allow=self.allow_globals)
        except StalledRead as stalled:
            raise CheckpointError(str(self.path), [Problem(str(stalled), name)]) from stalled
        except OSError as error:
            if rank is None and not self._local and isinstance(error, FileNotFoundError):
                names = watch.wait_for(lambda: remote_safetensors(self._remote, str(self.path)))
                if names:
                    return watch.wait_for(lambda: folder_metadata(self._folder(), self._bytes, names))
            raise CheckpointError(
                str(self.path), [Problem(why_no_metadata(Path(self.path) if self._local else None, error), name)]
            ) from error

    def _folder(self) -> Path | str:
        """Where the files are: for a checkpoint of a single file, the folder around it."""
        if not self._local:
            return str(self.path)
        return Path(self.path).parent if is_safetensors_file(Path(self.path)) else Path(self.path)

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
                self._read(plan, planner)
        finally:
            self._freeze.thaw()
            self.metrics.seconds = perf_counter() - start
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _read(self, plan: LoadPlan, planner: LoadPlanner) -> None:
        metrics = self.metrics
        metrics.items = len(plan.items)
        watch = Watch(self.stall_s)
        opened = OpenFiles(self._folder(), self._bytes, watch)
        touched = False
        try:
            start = perf_counter()
            placed = watch.wait_for(lambda: self._placed(plan, opened))
            placed.problems += holes(plan, planner, self._tensors)
            metrics.payload_bytes = placed.payload_bytes
            metrics.cold_files = sum(opened.cold)
            metrics.plan_s = perf_counter() - start
            whole = WholeItems(opened, self.storage_data, self.transforms, check_sums=self.verify == "crc")
            self.metrics.skipped.clear()
            kept = watch.wait_for(lambda: self._check(placed, opened, whole))
            if placed.problems:
                raise CheckpointError(str(self.path), placed.problems)
            start = perf_counter()
            touched = True
            problems = self._load(placed, opened, whole, planner, kept)
            metrics.read_s = perf_counter() - start
        except StalledRead as stalled:
            raise CheckpointError(str(self.path), [Problem(str(stalled), stalled.file)], touched=touched) from stalled
        finally:
            opened.close()
        if problems:
            raise CheckpointError(str(self.path), problems, touched=True)
        self._warn_of_skipped()

    def _placed(self, plan: LoadPlan, opened: OpenFiles) -> ReadPlan:
        return plan_reads(plan.items, self.storage_data, opened, tensors=self._tensors, strict=self.verify)

    def _check(self, placed: ReadPlan, opened: OpenFiles, whole: WholeItems) -> dict[int, bytes | None]:
        """What can be known before a destination is touched. Returns checked byte items worth keeping, by position."""
        start = perf_counter()
        kept: dict[int, bytes | None] = {}
        total = 0
        for position, item in enumerate(placed.byte_items):
            data, problem = self._byte_item(item, whole)
            if problem:
                placed.problems.append(problem)
            if data is None:
                kept[position] = None
                continue
            total += len(data)
            if total <= KEPT_BYTES:
                kept[position] = data
        if self.verify == "crc" and not placed.problems:
            folder = self._folder()
            seal = read_seal(folder) if isinstance(folder, Path) else None
            changed = seal.metadata_problem(folder) if seal and isinstance(folder, Path) else None
            placed.problems += [changed] if changed else []
            for stock in placed.stock:
                _, problem = whole.data(stock.item)
                placed.problems += [problem] if problem else []
            unique = {
                (read.file, read.offset, read.head.data_offset): CheckedItem(
                    read.file, read.offset, read.length, read.head, read.item.storage_index.fqn
                )
                for read in placed.reads
            }
            threads = self._threads_for(placed.payload_bytes)
            placed.problems += crc_problems(unique.values(), opened, threads, seal)
        self.metrics.check_s = perf_counter() - start
        return kept

    def _load(
        self, placed: ReadPlan, opened: OpenFiles, whole: WholeItems, planner: LoadPlanner, kept: dict[int, bytes | None]
    ) -> list[Problem]:
        metrics = self.metrics
        threads = metrics.threads = self._threads_for(placed.payload_bytes)
        inline = threads == 1 or placed.payload_bytes < SMALL_LOAD
        with Engine(opened, threads, inline=inline) as engine:
            loading = Loading(
                engine,
                planner,
                metrics,
                in_order=type(planner).commit_tensor is not DefaultLoadPlanner.commit_tensor,
                staging=self.max_staging_bytes,
                on_bytes=self._progress(placed.payload_bytes),
                info_of=lambda item: self.storage_data[item.storage_index],
            )
            loading.run(placed.reads)
        metrics.read_bytes += engine.read_bytes
        metrics.copy_s = engine.copy_s
        for stock in placed.stock + loading.stock:
            metrics.stock_items += 1
            metrics.stock_reasons[stock.reason] += 1
            self._read_like_stock(stock.item, opened, whole, planner, loading.problems)
        for position, item in enumerate(placed.byte_items):
            data = kept.get(position)
            if data is None and position in kept:
                continue
            if data is None:
                data, problem = opened.watch.wait_for(partial(self._byte_item, item, whole))
                if problem:
                    loading.problems.append(problem)
                if problem or data is None:
                    continue
            metrics.byte_items += 1
            planner.load_bytes(item, io.BytesIO(data))
            loading.on_bytes(len(data))
        return loading.problems

    def _threads_for(self, nbytes: int) -> int:
        wanted = self.threads
        if wanted is None and not self._local:
            wanted = min(REMOTE_THREADS, 1 + nbytes // SMALL_LOAD)
        return threads_for(nbytes, wanted)

    def _read_like_stock(
        self, item: ReadItem, opened: OpenFiles, whole: WholeItems, planner: LoadPlanner, problems: list[Problem]
    ) -> None:
        info = self.storage_data[item.storage_index]
        try:
            tensor = opened.watch.wait_for(lambda: whole.tensor(item))
            target = planner.resolve_tensor(item).detach()
            if target.size() != tensor.size():
                raise ValueError(f"the saved part has shape {list(tensor.size())} and its destination {list(target.size())}")
            target.copy_(tensor)
            planner.commit_tensor(item, target)
        except StalledRead:
            raise
        except Exception as error:  # noqa: BLE001 - one item's failure becomes a problem with its name
            what = f"torch cannot read it either: {type(error).__name__}: {str(error).strip()[:300]}"
            problems.append(Problem(what, info.relative_path, item.storage_index.fqn, info.offset))

    def _byte_item(self, item: ReadItem, whole: WholeItems) -> tuple[bytes | None, Problem | None]:
        """A byte item, transforms undone, and what is wrong with it; None: it is left out."""
        data, problem = whole.data(item)
        if problem is not None or self.byte_items == "trusted":
            return data, problem
        found = refusal(data, self.allow_globals)
        if found is None:
            return data, None
        info = self.storage_data[item.storage_index]
        problem = Problem(f"byte item {found.why}", info.relative_path, item.storage_index.fqn, info.offset)
        if found.kind == "damaged":
            return None, problem
        if self.byte_items == "skip":
            self.metrics.skipped[item.storage_index.fqn] = found.why
            return None, None
        return None, replace(problem, what=f"{problem.what}; {HOW_TO_LOAD}")

    def _warn_of_skipped(self) -> None:
        skipped = self.metrics.skipped
        if skipped:
            shown = ", ".join(f"'{name}' ({why})" for name, why in list(skipped.items())[:SHOWN])
            more = f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
            warnings.warn(
                f"{self.path}: {len(skipped)} values were not loaded and are as they were: {shown}{more}; {HOW_TO_LOAD}",
                stacklevel=3,
            )

    def _progress(self, total: int) -> Callable[[int], None]:
        done = 0
        callback = self.on_progress

        def on_bytes(count: int) -> None:
            nonlocal done
            done = min(total, done + count)  # an item that is read a second time counts once
            if callback is not None:
                callback(done, total)

        return on_bytes

    def _use_path(self, path: str | os.PathLike[str]) -> None:
        scheme, _, rest = str(path).partition("://")
        self._local = not rest or scheme in ("file", "local")
        if self._local:
            self.fs = FileSystem()
            self.path = self.fs.init_path(rest or path)
            self._bytes: Files = self.files or PosixFiles()
            return
        from torch.distributed.checkpoint._fsspec_filesystem import FileSystem as RemoteFileSystem

        from millrace.checkpoint.engine.remote_files import RemoteFiles

        remote: Any = RemoteFileSystem()
        self.path = remote.init_path(path, **self.storage_options)
        self.fs = remote
        self._remote = remote.fs
        self._bytes = self.files or RemoteFiles(remote.fs)

    def _whole_file(self, path: Any) -> io.BytesIO:
        if self._local:
            return io.BytesIO(read_regular(Path(path)))
        handle = self._bytes.open(path)
        try:
            return io.BytesIO(self._bytes.read_at(handle, self._bytes.size(handle), 0))
        finally:
            self._bytes.close(handle)
