"""The in-flight limit, the breaker and the pool, by themselves."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.llm import Reply
from millrace.llm.failures import AttemptFailed, EndpointDown
from millrace.llm.throttle.byte_budget import ByteBudget
from millrace.llm.throttle.circuit_breaker import Breaker
from millrace.llm.throttle.concurrency import InFlightLimit
from millrace.llm.throttle.endpoint_pool import Endpoint, EndpointPool
from tests.llm.servers import run


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_storm_of_refusals_halves_the_limit_within_a_second() -> None:
    clock = Clock()
    limit = InFlightLimit(128, clock=clock)
    for _ in range(20):
        clock.now += 0.03  # twenty refusals in 0.6 s, far fewer than a window
        limit.refused()
    assert limit.limit <= 64


def test_the_limit_comes_back_after_a_storm() -> None:
    limit = InFlightLimit(128, clock=Clock())
    for _ in range(300):
        limit.refused()
    assert limit.limit < 8
    for _ in range(3000):
        limit.answered(0.2)
    assert limit.limit > 120


def test_one_refusal_in_a_hundred_costs_less_than_a_tenth_of_the_limit() -> None:
    limit = InFlightLimit(128, clock=Clock())
    source = random.Random(0)
    seen = []
    for _ in range(20_000):
        if source.random() < 0.01:
            limit.refused()
        else:
            limit.answered(0.2)
        seen.append(limit.limit)
    assert sum(seen) / len(seen) > 115


def test_the_limit_settles_at_what_the_server_takes() -> None:
    limit = InFlightLimit(256, clock=Clock())
    seen = []
    for _ in range(400):  # rounds: everything above 64 in flight is refused
        sent = int(limit.limit)
        for index in range(sent):
            if index < 64:
                limit.answered(0.2)
            else:
                limit.refused()
        seen.append(limit.limit)
    assert 56 <= sum(seen[100:]) / len(seen[100:]) <= 72


def test_a_server_that_queues_without_refusing_gets_less() -> None:
    limit = InFlightLimit(100, clock=Clock())
    for _ in range(200):
        limit.answered(0.5)
    for _ in range(2000):
        limit.answered(5.0)
    assert limit.limit < 50


@given(st.lists(st.one_of(st.none(), st.floats(0.001, 100)), max_size=400), st.integers(1, 600))
def test_the_limit_stays_between_one_and_what_was_asked_for(events: list[float | None], ceiling: int) -> None:
    clock = Clock()
    limit = InFlightLimit(ceiling, clock=clock)
    for event in events:
        clock.now += 0.05
        if event is None:
            limit.refused()
        else:
            limit.answered(event)
        assert 1 <= limit.limit <= max(4, ceiling)


def test_the_breaker_lets_one_request_try_and_closes_when_it_succeeds() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    breaker.failed("connection", "refused")
    assert not breaker.admits()
    clock.now += 20
    assert breaker.admits()
    breaker.sent()
    assert not breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
    assert breaker.failing_for_s() == 0


def test_the_breaker_waits_longer_each_time_up_to_a_bound() -> None:
    clock = Clock()
    breaker = Breaker(clock=clock)
    pauses = []
    for _ in range(20):
        breaker.failed("connection", "refused")
        assert breaker.open_until is not None
        pauses.append(breaker.open_until - clock.now)
        clock.now = breaker.open_until
    assert pauses[0] == pytest.approx(0.1)
    assert all(later >= earlier - 1e-6 for earlier, later in itertools.pairwise(pauses))
    assert pauses[-1] == pytest.approx(10.0)


def test_single_server_errors_do_not_open_the_breaker() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(9):
        breaker.failed("server", "500")
    assert breaker.admits()


class Silent:
    """An endpoint that is only counted."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.pause_s: float | None = None

    async def complete(self, request: object) -> Reply:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def test_requests_go_where_there_is_most_room() -> None:
    async def main() -> dict[str, int]:
        small, large = Endpoint(Silent("small"), 10), Endpoint(Silent("large"), 30)
        pool = EndpointPool([small, large], give_up_after_s=1)
        for _ in range(40):
            await pool.acquire()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.acquire(), 0.05)
        return {"small": small.limit.in_use, "large": large.limit.in_use}

    assert run(main()) == {"small": 10, "large": 30}


def test_an_endpoint_that_is_down_gets_nothing_while_another_works() -> None:
    async def main() -> None:
        sick, well = Endpoint(Silent("sick"), 10), Endpoint(Silent("well"), 10)
        pool = EndpointPool([sick, well], give_up_after_s=60)
        for _ in range(5):
            pool.failed(sick, AttemptFailed("connection", "refused"))
        chosen = [await pool.acquire() for _ in range(10)]
        assert chosen == [well] * 10

    run(main())


def test_who_waits_for_a_dead_endpoint_is_told() -> None:
    async def main() -> None:
        endpoint = Endpoint(Silent("gone"), 1)
        pool = EndpointPool([endpoint], give_up_after_s=0.3)

        async def fail_for_ever() -> None:
            while True:
                pool.failed(await pool.acquire(), AttemptFailed("connection", "refused"))
                pool.release(endpoint)

        with pytest.raises(EndpointDown, match="no answer from gone"):
            await asyncio.gather(*(fail_for_ever() for _ in range(5)))

    run(main())


def test_a_slot_given_to_somebody_who_left_is_not_lost() -> None:
    async def main() -> None:
        endpoint = Endpoint(Silent("x"), 1)
        pool = EndpointPool([endpoint], give_up_after_s=60)
        first = await pool.acquire()
        waiting = [asyncio.create_task(pool.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        pool.release(first)
        waiting[1].cancel()  # it may have its slot already
        await asyncio.sleep(0.01)
        assert (await asyncio.wait_for(waiting[2], 5)) is endpoint

    run(main())


def test_an_abandoned_probe_does_not_close_the_endpoint_for_ever() -> None:
    async def main() -> None:
        endpoint = Endpoint(Silent("x"), 4)
        pool = EndpointPool([endpoint], give_up_after_s=60)
        pool.failed(await pool.acquire(), AttemptFailed("connection", "refused"))
        pool.release(endpoint)
        probe = await asyncio.wait_for(pool.acquire(), 5)
        pool.abandon(probe)
        assert await asyncio.wait_for(pool.acquire(), 5) is endpoint

    run(main())


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_bytes_in_flight_stay_below_their_limit(sizes: list[int]) -> None:
    async def main() -> None:
        budget = ByteBudget(60)

        async def one(size: int) -> None:
            async with budget.hold(size):
                assert budget.held <= 60
                await asyncio.sleep(0)

        await asyncio.gather(*(one(size) for size in sizes))
        assert budget.held == 0

    run(main())


def test_a_body_larger_than_the_limit_goes_alone() -> None:
    async def main() -> None:
        budget = ByteBudget(10)
        async with budget.hold(100):
            waiting = asyncio.create_task(budget.hold(1).__aenter__())
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting

    run(main())


def test_requests_that_fail_again_and_again_do_not_close_an_endpoint_for_the_others() -> None:
    breaker = Breaker(clock=Clock())
    for _ in range(100):
        breaker.failed("server", "500", first=False)
    assert breaker.admits()
