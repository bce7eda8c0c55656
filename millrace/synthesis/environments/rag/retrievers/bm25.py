"""Words: BM25 (the default)."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.synthesis.search_index import SearchIndex


def open_retriever(texts: Sequence[str]) -> SearchIndex:
    """An index by words."""
    return SearchIndex(texts)
