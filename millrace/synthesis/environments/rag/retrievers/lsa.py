"""Dense vectors without a model to download: latent semantic analysis of the corpus itself.

TF-IDF of words, reduced by a truncated SVD, compared by cosine: texts that share no word with the query are found when their
words keep company in the corpus. It knows nothing that the corpus does not say: it is no match for a trained embedding model,
and weak where the corpus is small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits

from millrace.synthesis.search_index import words

DIMENSIONS = 200
"""Customary for LSA (100 to 300); fewer where the corpus has fewer texts or words."""

DIGITS = 3
"""Scores are rounded, and equal ones keep the texts' order: the last bits of a sum differ between machines."""


class LsaIndex:
    """Texts as unit vectors."""

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts:
            raise ValueError("an index needs at least one text")
        self._weights = TfidfVectorizer(analyzer=_terms, sublinear_tf=True, dtype=np.float64)
        with threadpool_limits(1):  # sums in another order would be other sums
            weighted = self._weights.fit_transform(texts)
            dimensions = min(DIMENSIONS, min(weighted.shape) - 1)
            self._reduce = TruncatedSVD(dimensions, random_state=0).fit(weighted) if dimensions >= 1 else None
            self._texts_TD = _unit(self._reduced(weighted))

    def search(self, query: str, top_k: int) -> list[tuple[int, float]]:
        """(position of the text, cosine above 0) of the best `top_k`."""
        with threadpool_limits(1):
            asked_D = _unit(self._reduced(self._weights.transform([query])))[0]
            scores_T = np.round(self._texts_TD @ asked_D, DIGITS)
        order = np.argsort(-scores_T, kind="stable")[:top_k]
        return [(int(place), float(scores_T[place])) for place in order if scores_T[place] > 0]

    def _reduced(self, weighted: object) -> npt.NDArray[np.float64]:
        if self._reduce is None:
            return np.asarray(weighted.toarray())  # type: ignore[attr-defined]
        return np.asarray(self._reduce.transform(weighted))


def _terms(text: str) -> list[str]:
    return words(text) or ["-"]


def _unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def open_retriever(texts: Sequence[str]) -> LsaIndex:
    """An index by vectors."""
    return LsaIndex(texts)
