"""A storm of refusals, live: what the client has in flight while a real server refuses everything, and afterwards.

Counted in events, not in seconds; how long it takes is measured in tests/benchmarks/bench_llm_limits.py.
"""

from __future__ import annotations

import asyncio
import itertools

from millrace.llm.client.batch import complete_many
from millrace.llm.mock_server.faults import FaultPlan, Misfortune
from tests.llm.servers import opened, question, run, serving

IN_FLIGHT = 64
CALM = FaultPlan(latency_ms=10)
STORM = FaultPlan(faults={"429": 1.0}, fault_tries=10**6, retry_after_s=0.1)


def test_a_live_storm_of_429_halves_what_is_in_flight_after_one_windows_worth_of_refusals_and_it_comes_back() -> None:
    async def main() -> None:
        async with serving(latency_ms=10) as (server, url), opened(url, max_in_flight=IN_FLIGHT) as chat:
            limit = chat.pool.endpoints[0].limit

            async def ask_for_ever() -> None:
                async for _ in complete_many(chat, ((number, question(number)) for number in itertools.count())):
                    pass

            async def until(met: object) -> None:
                while not met():  # type: ignore[operator]
                    await asyncio.sleep(0.001)

            asking = asyncio.create_task(ask_for_ever())
            await until(lambda: server.in_flight > IN_FLIGHT // 2 and server.counts["requests"] > 10 * IN_FLIGHT)
            await until(lambda: limit.limit == IN_FLIGHT)  # a busy machine's pauses look like a queue for a moment, and pass

            server.misfortune = Misfortune(STORM)
            await until(lambda: limit.limit <= IN_FLIGHT / 2)
            # at most the window that was open when it began, and one more of nothing but refusals
            assert server.counts["429"] <= 2 * IN_FLIGHT + limit.in_use
            await until(lambda: chat.pool.in_flight <= IN_FLIGHT / 2)

            await until(lambda: limit.limit < 4)  # it goes on until almost nothing is sent
            answered = sum(server.answered.values())
            server.misfortune = Misfortune(CALM)
            await until(lambda: limit.limit > 0.9 * IN_FLIGHT)
            assert sum(server.answered.values()) - answered < 40 * IN_FLIGHT
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            assert server.statistics()["answered_twice"] == 0

    run(main())
