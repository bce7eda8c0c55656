"""Holm's correction for several tests at once (A simple sequentially rejective multiple test procedure, Scandinavian Journal of
Statistics 6, 1979): among all that it calls significant at 5 %, there is a false one in at most 5 % of comparisons, whatever the
dependence between the tests.
"""

from __future__ import annotations

from collections.abc import Mapping


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """The corrected p-values by name: each may be read against the level of the whole family.

    None (nothing could be tested) stays None and is no part of the family.
    """
    tested = sorted((p, name) for name, p in p_values.items() if p is not None)
    corrected: dict[str, float | None] = dict.fromkeys(p_values)
    reached = 0.0
    for place, (p, name) in enumerate(tested):
        reached = max(reached, min(1.0, p * (len(tested) - place)))
        corrected[name] = reached
    return corrected
