"""What can go wrong, named by what the caller does next.

MillraceError               the run ends; `exit_code` says how
├── UsageError        (2)   correct the command line, the config or the run folder: nothing was started
├── InputError        (2)   correct the data: it cannot be read as what it should be
├── RunFailed         (1)   look at the log: the work could not be done
├── ShortOfTarget     (3)   the run is complete but has less than was asked for
├── Interrupted       (130) run the same command again: everything finished is kept
└── ItemFailed              one item's failure: it becomes a record with a reason and never ends a run

A message says what is wrong, where, and what to do about it. All of them survive pickling, so they cross process pools.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MillraceError(Exception):
    """Anything this project raises on purpose."""

    exit_code = 1


class UsageError(MillraceError):
    """The command line, the config or the run folder must be corrected; nothing was started."""

    exit_code = 2


class InputError(MillraceError):
    """The data given to the run cannot be used as it is."""

    exit_code = 2


class RunFailed(MillraceError):
    """The run started and could not do its work."""

    exit_code = 1


class ShortOfTarget(MillraceError):
    """The run is complete, with less than its target."""

    exit_code = 3


class Interrupted(MillraceError):
    """The run was asked to stop; everything finished is on disk."""

    exit_code = 130


class ItemFailed(MillraceError):
    """One item's failure, to be written down as a record: `reason` is a short snake_case word, `detail` a sentence."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """The tail of an error message about an unknown name: `; did you mean 'web'? known: math, python, rag, web`."""
    names = sorted(known)
    close = difflib.get_close_matches(str(wrong), names, n=1, cutoff=0.5)
    hint = f"; did you mean '{close[0]}'?" if close else ";"
    return f"{hint} known: {', '.join(names)}" if names else "; none are known"
