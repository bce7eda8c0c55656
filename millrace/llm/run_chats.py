"""Chat models for the shards of a run: opened once per process, with their journal and ledger in the run's folder.

Plug-ins (a baseline, a judge, a writer behind an endpoint) are made for every shard, and know neither the run's folder nor when
the last shard is done. So the caller of a shard says where its run is, and the models stay open until the process ends.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.llm.client.blocking import BlockingChat
    from millrace.llm.settings import ModelSettings
    from millrace.records.llm import LedgerRow

FOLDER = "chat"
"""In the run's folder: journals, ledger and budgets of all models."""

JUDGE_FOLDER = "judge"
"""The same of a judge that works beside a model with a budget of its own."""

_folder: ContextVar[Path | None] = ContextVar("folder of chats", default=None)
_open: dict[tuple[str, Path | None], BlockingChat] = {}
_lock = threading.Lock()


@contextmanager
def chats_of_run(path: Path) -> Iterator[Path]:
    """In this block chat models keep journal and ledger in the run that `path` (its folder, or anything in it) belongs to."""
    folder = chat_folder(path)
    token = _folder.set(folder)
    try:
        yield folder
    finally:
        _folder.reset(token)


def chat_folder(path: Path) -> Path:
    """`RUN_DIR/chat` of the run that `path` lies in; a folder beside `path` where there is no run folder above it."""
    path = path.absolute()
    for above in (path, *path.parents):
        if (above / "manifest.json").exists():
            return above / FOLDER
    return (path if path.is_dir() else path.parent) / FOLDER


def run_chat(settings: ModelSettings) -> BlockingChat:
    """The chat model of `settings` in this process and run, opened at the first call; not to be closed by the caller.

    Raises:
        UsageError: as `open_chat`.
    """
    from millrace.llm.client.blocking import BlockingChat  # brings httpx: not for runs without an endpoint
    from millrace.llm.open_chat import open_chat

    folder = _folder.get()
    name = (settings.model_dump_json(), folder)
    with _lock:
        if not _open:
            atexit.register(close_run_chats)
        chat = _open.get(name)
        if chat is None:
            chat = _open[name] = BlockingChat(lambda: open_chat(settings, folder))
        else:
            chat.refresh()
        return chat


def close_run_chats() -> None:
    """Close all models of this process; the next `run_chat` opens them anew."""
    with _lock:
        for chat in _open.values():
            chat.close()
        _open.clear()


def ledger_of_run(run_dir: Path) -> list[LedgerRow]:
    """What a run has paid for, by day, stage and model, over all its processes."""
    from millrace.llm.store.ledger import read_ledger

    return read_ledger([run_dir / name / "ledger" for name in (FOLDER, JUDGE_FOLDER)])
