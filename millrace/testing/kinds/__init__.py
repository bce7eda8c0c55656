"""One file in this folder is one kind of plug-in: where such plug-ins live, how one is opened, and what it promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

PACKAGE = "millrace.testing.kinds"


class Plugin(Protocol):
    """What a module in this folder has."""

    FOLDER: str
    """Dotted path of the folder that holds the shipped plug-ins of this kind."""
    WORD: str
    """What a message calls one: "environment"."""
    PROMISES: tuple[Callable[[Any], None], ...]
    """Each gets what `opened` gives and raises AssertionError, with a sentence, when the plug-in does not keep it."""

    def opened(self, name: str, settings: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """The plug-in, opened with settings beyond its name; closed again at the end."""
        ...


def kept(condition: object, sentence: str) -> None:
    """Say in which way a promise is not kept.

    Raises:
        AssertionError: `condition` does not hold.
    """
    if not condition:
        raise AssertionError(sentence)
