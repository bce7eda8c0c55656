"""Handing out units: no rank starves, and the run stops in the same place for any number of ranks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.probing.ranks.handout import Handout, Stop, find_stop


class MemoryStore:
    """torch's store in a dictionary."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def add(self, key: str, amount: int) -> int:
        self.values[key] = str(int(self.values.get(key, "0")) + amount)
        return int(self.values[key])

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def get(self, key: str) -> bytes:
        return self.values[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)


@pytest.mark.parametrize(
    ("failures", "target", "max_empty", "complete", "stop"),
    [
        ([3, 4], 7, None, False, Stop(1, "target")),
        ([3, 9], 7, None, False, Stop(1, "target")),
        ([3, 3], 7, None, False, None),
        ([3, 3], 7, None, True, Stop(1, "exhausted")),
        ([0, 1, 0, 0], None, 2, False, Stop(3, "empty")),
        ([0, 0, 5], 5, 2, False, Stop(1, "empty")),
        ([], 5, 2, True, Stop(-1, "exhausted")),
        ([1, 2], None, None, False, None),
    ],
)
def test_where_a_run_stops(
    failures: Sequence[int], target: int | None, max_empty: int | None, complete: bool, stop: Stop | None
) -> None:
    assert find_stop(failures, target=target, max_empty=max_empty, complete=complete) == stop


@given(
    failures=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    target=st.integers(1, 40),
    max_empty=st.one_of(st.none(), st.integers(1, 4)),
    ranks=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_any_number_of_ranks_in_any_order_stops_in_the_same_place(
    failures: list[int], target: int, max_empty: int | None, ranks: int, seed: int
) -> None:
    expected = find_stop(failures, target=target, max_empty=max_empty, complete=True)
    assert expected is not None
    rng = random.Random(seed)
    store = MemoryStore()
    handouts = [Handout(store, "0", target=target, max_empty=max_empty) for _ in range(ranks)]
    working: dict[int, int] = {}
    done: dict[int, int] = {}
    idle = set(range(ranks))
    while idle or working:
        rank = rng.choice(sorted(idle | set(working)))
        if rank in working:
            unit = working.pop(rank)
            handouts[rank].report(unit, failures[unit])
            done[unit] = failures[unit]
            idle.add(rank)
            continue
        enough = sum(done.values()) >= target
        unit = handouts[rank].take()
        assert not enough or unit is None, "a unit was handed out though those that are done hold the target"
        if unit is None or unit >= len(failures):
            idle.discard(rank)
        else:
            idle.discard(rank)
            working[rank] = unit
    counts = []
    while len(counts) in done:
        counts.append(done[len(counts)])
    assert find_stop(counts, target=target, max_empty=max_empty, complete=len(counts) == len(failures)) == expected
