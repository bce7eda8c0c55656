"""Budgets per minute, in one process and over several."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path

import pytest

from millrace.llm.throttle.rates import BURST_S, SAVED_S, RateBudget
from tests.llm.servers import run

ROOT = Path(__file__).resolve().parents[2]


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def drained(budget: RateBudget, clock: Clock, seconds: float, *, tokens: float = 0.0, step: float = 0.01) -> int:
    """How many requests go through in `seconds` of the clock."""
    count = 0
    end = clock.now + seconds
    while clock.now < end:
        while budget._try(tokens) == 0:
            count += 1
        clock.now += step
    return count


def test_a_minute_takes_as_many_requests_as_it_may() -> None:
    clock = Clock()
    budget = RateBudget(None, requests_per_minute=600, clock=clock)
    assert 598 <= drained(budget, clock, 60) <= 604


def test_a_slow_rate_is_kept_as_well() -> None:
    clock = Clock()
    budget = RateBudget(None, requests_per_minute=6, clock=clock)
    assert 58 <= drained(budget, clock, 600, step=0.1) <= 62


def test_tokens_are_limited_with_the_estimate_corrected_afterwards() -> None:
    clock = Clock()
    budget = RateBudget(None, tokens_per_minute=60_000, clock=clock)
    count = 0
    end = clock.now + 60
    while clock.now < end:
        while budget._try(100) == 0:
            count += 1
            budget.settle(400)  # every request takes five times what was thought
        clock.now += 0.01
    assert 115 <= count <= 125


def test_a_clock_that_jumps_ahead_gives_no_more_than_a_moments_worth() -> None:
    clock = Clock()
    budget = RateBudget(None, requests_per_minute=600, clock=clock)
    drained(budget, clock, 1)
    clock.now += 86_400
    assert drained(budget, clock, 0.01) <= 4
    assert drained(budget, clock, 60) <= 1.05 * 600


def test_a_clock_that_jumps_back_does_not_stop_the_run() -> None:
    clock = Clock()
    budget = RateBudget(None, requests_per_minute=600, clock=clock)
    drained(budget, clock, 1)
    clock.now -= 86_400
    assert 95 <= drained(budget, clock, 10) <= 105


def test_a_file_torn_by_a_crash_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "rates.bin"
    path.write_bytes(b"mrb1\x00\x00")
    clock = Clock()
    budget = RateBudget(path, requests_per_minute=600, clock=clock)
    assert 98 <= drained(budget, clock, 10) <= 104
    budget.close()


def test_spending_adds_up_over_openings(tmp_path: Path) -> None:
    for expected in (0.25, 0.5, 0.75):
        budget = RateBudget(tmp_path / "rates.bin")
        assert budget.spend(0.25) == pytest.approx(expected)
        budget.close()


def test_waiting_is_first_come_first_served() -> None:
    async def main() -> list[int]:
        budget = RateBudget(None, requests_per_minute=3000)
        order: list[int] = []

        async def one(number: int) -> None:
            await budget.acquire()
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(20)))
        return order

    assert run(main()) == list(range(20))


WORKER = """
import asyncio, json, sys, time
from pathlib import Path
from millrace.llm.throttle.rates import RateBudget

async def main():
    budget = RateBudget(Path(sys.argv[1]), requests_per_minute=float(sys.argv[2]))
    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    times = []
    while time.time() < begin + float(sys.argv[3]):
        if time.time() >= begin:
            await budget.acquire()
            times.append(time.time())
        else:
            await asyncio.sleep(0.005)
    budget.close()
    print(json.dumps(times))

asyncio.run(main())
"""


def test_a_stall_of_all_processes_is_caught_up_with_and_no_second_is_a_burst(tmp_path: Path) -> None:
    clock = Clock()
    two = [RateBudget(tmp_path / "rates.bin", requests_per_minute=3000, clock=clock) for _ in range(2)]
    sent: list[float] = []
    begin = clock.now
    stalls = {5: 1.5, 20: 1.8, 40: 0.9}  # at these seconds nobody runs for so long
    while clock.now < begin + 60:
        clock.now += stalls.pop(int(clock.now - begin), 0.0) + 0.02
        for budget in two:
            while budget._try(0.0) == 0:
                sent.append(clock.now)
    assert not stalls
    assert 0.95 * 3000 <= len(sent) <= 1.05 * 3000
    seconds = [bisect_left(sent, moment + 1) - place for place, moment in enumerate(sent)]
    assert max(seconds) <= 1.4 * 50


def test_quiet_processes_do_not_hoard_for_a_burst(tmp_path: Path) -> None:
    clock = Clock()
    busy, *quiet = (RateBudget(tmp_path / "rates.bin", requests_per_minute=6000, clock=clock) for _ in range(9))
    drained(busy, clock, 1)
    for budget in quiet:
        clock.now += 0.2
        assert budget._try(0.0) == 0  # takes a tenth of a second's worth, ten requests, and uses one
    drained(busy, clock, 5)
    assert sum(drained(budget, clock, 0.001) for budget in quiet) <= BURST_S * 100 + len(quiet)


def test_two_processes_together_stay_within_five_percent_of_one_budget(tmp_path: Path) -> None:
    rate, seconds = 3000.0, 20.0
    command = [sys.executable, "-c", WORKER, str(tmp_path / "rates.bin"), str(rate), str(seconds)]
    workers = [subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    begin = time.time() + 0.5
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(f"{begin}\n")
        worker.stdin.flush()
    taken = [json.loads(worker.communicate(timeout=60)[0].splitlines()[-1]) for worker in workers]
    moments = sorted(moment for one in taken for moment in one if moment < begin + seconds)
    share = rate / 60
    # Where the machine let neither run for longer than may be saved up, the rest of that time's budget is gone, as it should be.
    starved = sum(max(0.0, later - earlier - SAVED_S) for earlier, later in pairwise([begin, *moments]))
    window = moments[-1] - begin  # up to the last one: a stall at the very end is not yet caught up with
    assert len(moments) <= 1.05 * share * window + 1
    assert len(moments) >= 0.95 * share * (window - starved)
    assert min(len(one) for one in taken) > 0.2 * len(moments)
