"""Full-text search over documents in memory: BM25 by `bm25s`, with one way of cutting English and Chinese into words."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import bm25s
import numpy as np

logging.getLogger("bm25s").setLevel(logging.WARNING)  # at import it sets itself to DEBUG and talks into the progress bar

WORD = re.compile(r"[a-z0-9_]+|[\u4e00-\u9fff]")


def words(text: str) -> list[str]:
    """Lower-case words and numbers; each Chinese character is a word, which BM25 copes with."""
    return WORD.findall(text.lower())


class SearchIndex:
    """Ranks documents for a query; equal scores keep the documents' order, so a search always gives the same list."""

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts:
            raise ValueError("an index needs at least one document")
        self._ranker = bm25s.BM25()
        self._ranker.index([words(text) or ["-"] for text in texts], show_progress=False)

    def search(self, query: str, top_k: int) -> list[tuple[int, float]]:
        """(position of the document, score above 0) for the best `top_k` documents."""
        known = [word for word in words(query) if word in self._ranker.vocab_dict]
        if not known:
            return []
        scores = np.asarray(self._ranker.get_scores(known))
        order = np.argsort(-scores, kind="stable")[:top_k]
        return [(int(place), round(float(scores[place]), 3)) for place in order if scores[place] > 0]
