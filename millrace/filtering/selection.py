"""The draw: from all candidates to the records that are kept, in an order made from content.

Every record has a fixed random number (a hash of seed and id). Of each image the failures with the best weighted numbers stay;
of each failure id the `quota` best stay. So the choice depends on the set of outcomes and the settings only: not on their order,
the files they are in or the number of workers, and a larger quota extends a smaller one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from millrace.errors import InputError, did_you_mean
from millrace.filtering.routing import Routes
from millrace.filtering.scan import CANDIDATE, Scan
from millrace.filtering.settings import FilteringSettings
from millrace.records.summaries import Balance


class ShardPlan(msgspec.Struct):
    """The records of one output shard and where each is to be read."""

    index: int
    first: int
    """`sample_index` of its first record."""
    entries: list[tuple[str, int, int]]
    """(file, offset, length), in output order."""

    @property
    def name(self) -> str:
        """The shard's file name."""
        return f"shard-{self.index:05d}.jsonl"


class Selection(msgspec.Struct):
    """What was chosen, and the account of what was not."""

    seen: int
    dropped: dict[str, int]
    balance: dict[str, Balance]
    """By failure id: how many among the outcomes, how many in the selection."""
    shards: list[ShardPlan]

    @property
    def kept(self) -> int:
        """Records chosen. `seen == kept + sum(dropped.values())`."""
        return sum(len(shard.entries) for shard in self.shards)


def select_failures(scans: Sequence[Scan], settings: FilteringSettings, routes: Routes) -> Selection:
    """Merge the scans of all parts and choose.

    Memory: about 100 bytes per failure among the outcomes at the peak, none for anything else.

    Raises:
        InputError: a failure id has no route, and `unknown_failure` is "error".
    """
    failures = sorted({name for scan in scans for name in scan.failures})
    lake_files = sorted({name for scan in scans for name in scan.lake_files})
    dropped: Counter[str] = Counter()
    for scan in scans:
        dropped.update(scan.dropped)
    table, part_of = _merged(scans, failures, lake_files)
    failure = table["failure"].astype(np.int64)
    counts = np.bincount(failure, minlength=len(failures))

    keep = _routed(failures, routes, scans, settings, counts)[failure]
    dropped["unknown_failure"] += int(len(keep) - keep.sum())
    chosen = np.flatnonzero(keep)

    weights = np.array([settings.weights.get(name, 1.0) for name in failures])
    lots = weighted_lots(table["draw"], weights[failure])
    unique, best = _per_image(table, lots, chosen, settings.failures_per_image)
    dropped["duplicate"] += len(chosen) - len(unique)
    dropped["over_failures_per_image"] += len(unique) - len(best)

    limits = quotas_for(np.bincount(failure[best], minlength=len(failures)), failures, settings)
    final = best[_rank_within(failure[best], table["draw"][best]) < limits[failure[best]]]
    dropped["over_quota"] += len(best) - len(final)

    final = final[np.lexsort((table["draw"][final], table["row"][final], table["file"][final]))]
    paths = [scan.part.path for scan in scans]
    entries = [
        (paths[part], offset, length)
        for part, offset, length in zip(
            part_of[final].tolist(), table["offset"][final].tolist(), table["length"][final].tolist(), strict=True
        )
    ]
    size = settings.shard_size
    kept = np.bincount(failure[final], minlength=len(failures))
    return Selection(
        seen=sum(scan.seen for scan in scans),
        dropped={reason: count for reason, count in sorted(dropped.items()) if count},
        balance={name: Balance(failures=int(counts[i]), kept=int(kept[i])) for i, name in enumerate(failures)},
        shards=[
            ShardPlan(number, settings.start_index + at, entries[at : at + size])
            for number, at in enumerate(range(0, len(entries), size))
        ],
    )


def weighted_lots(draw: NDArray[np.uint64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Random numbers as waiting times: the smallest comes first, and each is first with a chance proportional to its weight.

    These are exponential waiting times (Efraimidis and Spirakis 2006): -ln(u) / weight.
    """
    uniform = (draw.astype(np.float64) + 0.5) / 2.0**64
    waiting: NDArray[np.float64] = -np.log(uniform) / weight
    return waiting


def quotas_for(available: NDArray[np.int64], failures: Sequence[str], settings: FilteringSettings) -> NDArray[np.int64]:
    """How many records each failure id may keep: its own quota, then an even share of `total` as far as it has records."""
    own = [settings.quotas.get(name, settings.quota) for name in failures]
    limits = np.array(
        [have if quota is None else min(have, quota) for have, quota in zip(available.tolist(), own, strict=True)], int
    )
    if settings.total is None or limits.sum() <= settings.total:
        return limits
    shares = np.zeros_like(limits)
    left = settings.total
    while left > 0 and (open_ids := np.flatnonzero(shares < limits)).size:
        step = max(1, left // len(open_ids))
        for place in open_ids[: left // step]:
            grant = min(step, int(limits[place] - shares[place]))
            shares[place] += grant
            left -= grant
    return shares


def _merged(scans: Sequence[Scan], failures: list[str], lake_files: list[str]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    """All candidates with common indices, and the part each came from."""
    table = np.concatenate([np.empty(0, CANDIDATE), *(scan.candidates for scan in scans)])
    part_of = np.repeat(np.arange(len(scans), dtype=np.uint32), [len(scan.candidates) for scan in scans])
    at = 0
    for scan in scans:
        rows = table[at : at + len(scan.candidates)]
        rows["failure"] = _places(scan.failures, failures)[rows["failure"]]
        rows["file"] = _places(scan.lake_files, lake_files)[rows["file"]]
        at += len(rows)
    return table, part_of


def _places(names: Sequence[str], among: Sequence[str]) -> NDArray[np.uint32]:
    place = {name: index for index, name in enumerate(among)}
    return np.array([place[name] for name in names], np.uint32)


def _routed(
    failures: Sequence[str], routes: Routes, scans: Sequence[Scan], settings: FilteringSettings, counts: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether each failure id has a route."""
    known = np.array([name in routes.by_failure for name in failures], bool)
    if settings.unknown_failure == "error" and not known.all():
        number = int(np.flatnonzero(~known)[0])
        name = failures[number]
        where = next(f"{scan.part.path} at byte {scan.first_offset[name]}" for scan in scans if name in scan.first_offset)
        raise InputError(
            f"failure id '{name}' ({counts[number]} records, first in {where}) has no row in {routes.where}"
            f"{did_you_mean(name, routes.by_failure)}; add a row, or set unknown_failure: drop"
        )
    return known


def _per_image(
    table: NDArray[Any], lots: NDArray[np.float64], rows: NDArray[np.int64], limit: int | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows without repeated records, those of them that stay when each image keeps `limit`)."""
    order = rows[np.lexsort((table["offset"][rows], table["draw"][rows], table["image"][rows]))]
    repeated = np.zeros(len(order), bool)
    same = (table["image"][order][1:] == table["image"][order][:-1]) & (table["draw"][order][1:] == table["draw"][order][:-1])
    repeated[1:] = same
    unique = order[~repeated]
    if limit is None:
        return unique, unique
    return unique, unique[_rank_within(table["image"][unique], lots[unique], table["draw"][unique]) < limit]


def _rank_within(group: NDArray[Any], *keys: NDArray[Any]) -> NDArray[np.int64]:
    """Each element's place (0 = first) among those of its group, by `keys`, the first key first."""
    order = np.lexsort((*reversed(keys), group))
    starts = np.flatnonzero(np.concatenate(([True], group[order][1:] != group[order][:-1]))) if len(order) else order
    sizes = np.diff(np.concatenate((starts, [len(order)])))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return rank
