"""A trained baseline on disk: a sharded `torch.distributed.checkpoint` and what it takes to use it, in one folder.

The folder holds the checkpoint's shards and `baseline.json`: dimensions, word list, results of the examination, and size and
SHA-256 of every file, so that damage is named and never guessed at.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from millrace.errors import InputError, RunFailed, UsageError
from millrace.run.journal import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

    from millrace.digits.baseline.model import ModelSize, SceneModel

CARD = "baseline.json"
SCHEMA = "millrace.baseline/1"

SHARDS = 2
"""Files the weights are split over."""

STOCK_READER = "torch.distributed.checkpoint.FileSystemReader"
"""What reads the checkpoint unless told otherwise."""


class FileMark(msgspec.Struct, frozen=True):
    """How to tell that a file is whole."""

    bytes: int
    sha256: str


class Card(msgspec.Struct, frozen=True):
    """What `baseline.json` says."""

    schema: str
    settings: dict[str, object]
    """The baseline's own; of a model that was trained further also how (`improve`)."""
    size: dict[str, int]
    """The fields of `ModelSize`."""
    words: list[str]
    """Word number 1, 2, …"""
    weights: str
    """SHA-256 over all weights: two models with the same one answer alike."""
    exam: dict[str, tuple[int, int]]
    """By claim, on narrow scenes of digits it has never seen: lessons asked, lessons right."""
    seconds: dict[str, float]
    versions: dict[str, str]
    files: dict[str, FileMark]


def save_trained(folder: Path, model: SceneModel, card: Card) -> None:
    """Write checkpoint and card into the existing, empty `folder`; `weights` and `files` of the card are filled in here.

    Raises:
        RunFailed: the disk would not take it.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    state = model.state_dict()
    try:
        with _quiet(), _raised_in_threads():
            save({"model": state}, storage_writer=FileSystemWriter(folder, thread_count=SHARDS), no_dist=True)
        files = {path.name: _mark(path) for path in sorted(folder.iterdir())}
        whole = msgspec.structs.replace(card, weights=_hash_weights(state), files=files)
        write_atomic(folder / CARD, msgspec.json.format(msgspec.json.encode(whole), indent=1))
    except (OSError, RuntimeError, CheckpointException) as error:  # torch wraps what the disk says in its own exceptions
        said = f"the trained baseline cannot be written to {folder} ({_first_line(error)})"
        raise RunFailed(f"{said}; is the disk full? set MILLRACE_CACHE to another") from error


def read_card(folder: Path) -> Card:
    """The card of a trained baseline whose files are all whole.

    Raises:
        InputError: what is missing or damaged, and what to do.
    """
    remedy = "restore it, or delete the folder and have the baseline trained anew"
    try:
        card = msgspec.json.decode((folder / CARD).read_bytes(), type=Card)
    except FileNotFoundError as error:
        raise InputError(f"there is no trained baseline in {folder} ({CARD} is missing); {remedy}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{folder / CARD} is damaged ({error}); {remedy}") from error
    for name, mark in card.files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"the checkpoint file {path} is missing; {remedy}")
        if path.stat().st_size != mark.bytes:
            raise InputError(f"the checkpoint file {path} is damaged: {path.stat().st_size} bytes, not {mark.bytes}; {remedy}")
        if _mark(path) != mark:
            raise InputError(f"the checkpoint file {path} is damaged: its SHA-256 is another; {remedy}")
    return card


def load_trained(folder: Path, *, device: str = "cpu", storage_reader: str = STOCK_READER) -> tuple[SceneModel, Card]:
    """The model in `folder`, ready to answer on `device`.

    Args:
        folder: written by `save_trained`.
        device: a torch device.
        storage_reader: dotted path of a `torch.distributed.checkpoint` storage reader that takes the folder.

    Raises:
        InputError: the folder is damaged.
        UsageError: there is no such storage reader.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.state_dict_loader import load

    from millrace.digits.baseline.model import ModelSize

    card = read_card(folder)
    model = new_model(ModelSize(**card.size), card.words)
    state = model.state_dict()
    reader = _reader_class(storage_reader)(folder)
    try:
        with _quiet():
            load({"model": state}, storage_reader=reader, no_dist=True)
    except (OSError, RuntimeError, CheckpointException) as error:
        raise InputError(f"the checkpoint {folder} cannot be read with {storage_reader} ({_first_line(error)})") from error
    model.load_state_dict(state)
    return model.to(device).eval(), card


def new_model(size: ModelSize, words: Sequence[str]) -> SceneModel:
    """A model that has not learned anything, for this word list."""
    from millrace.digits.baseline.model import SceneModel
    from millrace.digits.scenes.scene import COLOURS

    numbers = {word: place for place, word in enumerate(words, start=1)}
    return SceneModel(size, [numbers[str(label)] for label in range(10)], [numbers[colour] for colour in COLOURS])


def _reader_class(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"there is no storage reader '{dotted}' ({error}); the stock one is {STOCK_READER}") from error


@contextlib.contextmanager
def _raised_in_threads() -> Iterator[None]:
    """Raise here what a thread raised: torch's writer threads would only print it, and the checkpoint lack a part.

    One of the writers is the calling thread; when it fails it does not wait for the others, so they are waited for here.
    """
    raised: list[BaseException] = []
    before, others = threading.excepthook, set(threading.enumerate())
    threading.excepthook = lambda told: raised.append(told.exc_value or RuntimeError(told.exc_type.__name__))
    try:
        yield
    finally:
        for writer in set(threading.enumerate()) - others:
            writer.join(timeout=10.0)
        threading.excepthook = before
    if raised:
        raise raised[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _mark(path: Path) -> FileMark:
    data = path.read_bytes()
    return FileMark(len(data), sha256(data).hexdigest())


def _hash_weights(state: Mapping[str, Tensor]) -> str:
    digest = sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].detach().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch warns that there is no process group; none is wanted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
