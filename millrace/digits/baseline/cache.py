"""Where trained baselines are kept: a folder for each combination of code, settings and library versions.

A finished folder appears by one rename, and a lock lets one process train while others wait for its result; so any number of
runs may start at once. What is damaged is trained anew.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from millrace.config import cache_folder
from millrace.digits.baseline.trained_folder import read_card
from millrace.digits.kinds import claim_kinds
from millrace.errors import InputError, UsageError
from millrace.probing import answer_words
from millrace.probing.claims import load_claims
from millrace.run.ids import content_id, hash_files

if TYPE_CHECKING:
    from millrace.digits.baseline.embedded import BaselineSettings

HERE = Path(__file__).parent
SCENES = HERE.parent / "scenes"

CODE = (
    *(HERE / f"{name}.py" for name in ("curriculum", "inputs", "lesson_book", "lessons", "model", "train_program")),
    *(HERE.parent / f"{name}.py" for name in ("claim_vocabulary", "geometry", "references", "subjects")),
    Path(answer_words.__file__),
    *(SCENES / f"{name}.py" for name in ("compose", "effects", "glyphs", "handwriting", "layout", "papers", "pools", "recipes")),
    SCENES / "scene.py",
)
"""The files that decide what comes out of a training, besides the kinds of claims that are taught."""

LIBRARIES = ("torch", "numpy", "pillow", "scipy", "scikit-learn")

_LOG = logging.getLogger(__name__)


def trained_folder(settings: BaselineSettings, cache: Path | None = None) -> Path:
    """The folder of the baseline with these settings, whether it is there or not.

    Args:
        settings: a `checkpoint` in them is the answer.
        cache: None means the shared cache folder.
    """
    if settings.checkpoint is not None:
        return settings.checkpoint
    asked = settings.model_dump(mode="json", exclude={"checkpoint", "storage_reader"})
    libraries = {name: version(name) for name in LIBRARIES}
    claims, kinds = load_claims(settings.claims), claim_kinds()
    taught = sorted(Path(kinds[claim.claim_id].__file__) for claim in claims.claims if claim.claim_id in kinds)
    key = content_id("embedded", hash_files(*CODE, *taught), claims.sha256, asked, libraries)
    return (cache or cache_folder()) / "baselines" / key


def find_trained(settings: BaselineSettings, cache: Path | None = None) -> Path | None:
    """The folder if it holds a whole baseline, else None: then it has to be trained.

    Raises:
        InputError: the settings name a `checkpoint`, and that is missing or damaged: it can't be replaced by training.
    """
    folder = trained_folder(settings, cache)
    if settings.checkpoint is not None:
        read_card(folder)
        return folder
    if not folder.exists():
        return None
    try:
        read_card(folder)
    except InputError as error:
        _LOG.warning("%s: it is trained anew", str(error).partition(";")[0])
        return None
    return folder


def keep_trained(settings: BaselineSettings, train: Callable[[Path], None], cache: Path | None = None) -> Path:
    """The folder of the baseline, trained by `train(empty folder)` unless it is there.

    Covers: several processes at once (one trains, the others wait and use it), SIGKILL at any moment (a half-written folder
    never gets the name), damage (the folder is replaced).
    Does not cover: file systems without `flock`.

    Raises:
        UsageError: the cache folder can't be written to.
    """
    folder = trained_folder(settings, cache)
    with _alone(folder):
        found = find_trained(settings, cache)
        if found is not None:
            return found
        for stale in folder.parent.glob(f"{folder.name}.part-*"):
            shutil.rmtree(stale, ignore_errors=True)
        part = Path(mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
        try:
            train(part)
            part.chmod(0o755)  # mkdtemp makes it private; the cache may be shared
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel gives it back when the process ends, however it does."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f"{folder.name}.lock").open("a")
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"the cache folder {folder.parent} cannot be written to ({reason}); set MILLRACE_CACHE to another"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
