"""Every folder that a `kill -9` can leave: photographed while a run works, to be taken up again one by one.

A killed process leaves its files as they are at that moment. So the folder as it stands before each change of a file (made,
renamed, removed) is what a kill at that moment leaves. Between two changes only journals grow: they are cut here at four places
(tests/run/test_journal.py cuts one at every byte). Covers: every order of files that a run in one process goes through. Does not
cover: several processes at once, power loss, what is outside of the folder.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Contents = dict[str, bytes]
CHANGES = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
"""Python's audit events; those of reading are among them and show nothing new."""
JOURNAL = ".part"


def crash_points(work: Callable[[Path], object], folder: Path) -> list[Contents]:
    """What kills of `work(folder)` can leave of `folder`, the earliest first. It is finished afterwards.

    Args:
        work: what is done, in a process of its own; it must be picklable.
        folder: new, or with what `work` starts from.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_photograph, args=(work, folder, theirs))
    child.start()
    theirs.close()
    found: list[Contents] = []
    try:
        while True:
            found.append(ours.recv())
    except EOFError:
        child.join()
    assert child.exitcode == 0
    return _distinct([variant for photograph in found for variant in (*_cut(photograph), photograph)])


def put_back(contents: Contents, folder: Path) -> None:
    """Make `folder` what it was."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def contents_of(folder: Path) -> Contents:
    """The files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _photograph(work: Callable[[Path], object], folder: Path, pipe: Any) -> None:
    """Runs in the child: send the folder before each change of it that leaves it other than the last time."""
    busy, last = False, b""

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy, last
        if busy or event not in CHANGES or not str(arguments[0]).startswith(str(folder)):
            return
        busy = True
        now = contents_of(folder)
        if (digest := _digest(now)) != last:
            last = digest
            pipe.send(now)
        busy = False

    sys.addaudithook(look)
    work(folder)
    busy = True
    pipe.send(contents_of(folder))
    pipe.close()


def _cut(contents: Contents) -> list[Contents]:
    """The same with each journal cut in the middle of its first, second, middle and last line."""
    variants = []
    for name, data in contents.items():
        if name.endswith(JOURNAL):
            lines = data.splitlines(keepends=True)
            for line in sorted({0, 1, len(lines) // 2, len(lines) - 1} & set(range(len(lines)))):
                torn = lines[line][: len(lines[line]) // 2]
                variants.append({**contents, name: b"".join(lines[:line]) + torn})
    return variants


def _distinct(found: list[Contents]) -> list[Contents]:
    return list({_digest(contents): contents for contents in found}.values())


def _digest(contents: Contents) -> bytes:
    whole = hashlib.sha256()
    for name, data in sorted(contents.items()):
        if name.endswith(".tmp"):  # what an atomic write leaves is the same before and in the middle of it
            continue
        whole.update(f"{name}\0{len(data)}\0".encode() + data)
    return whole.digest()
