"""What a retriever is: it ranks texts for a query. One file here is one retriever; its file name is its name in a config.

`bm25` matches words. `lsa` is dense: it compares vectors, learnt from the corpus itself. One with a trained embedding model is a
module of your own with the same `open_retriever`, named by its dotted path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Retriever(Protocol):
    """An index over texts in memory; a module of this folder makes one with `open_retriever(texts)`."""

    def search(self, query: str, top_k: int) -> Sequence[tuple[int, float]]:
        """(position of the text, score above 0) of the best `top_k`; the same list each time, on one machine."""
        ...


class Plugin(Protocol):
    """What a module in this folder has."""

    def open_retriever(self, texts: Sequence[str]) -> Retriever:
        """An index over the texts."""
        ...
