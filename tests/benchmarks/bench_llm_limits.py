"""How quickly the client gives way to a storm of refusals and comes back, and how well processes share a budget per minute.

    python tests/benchmarks/bench_llm_limits.py storm     # a server that refuses everything for 3 s
    python tests/benchmarks/bench_llm_limits.py budget    # two processes, one budget, any window of 10 s of a minute

Prints all repeats. The storm's seconds count from the first refusal to the moment at which half (or less) is in flight, slots
held after a refusal included.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


async def storm(in_flight: int, latency_ms: float) -> dict[str, float]:
    """One storm: seconds until half was in flight, requests refused until then, seconds to come back to 90 %."""
    from millrace.llm import Request, user
    from millrace.llm.client.batch import complete_many
    from millrace.llm.mock_server.faults import FaultPlan, Misfortune
    from millrace.llm.mock_server.serve import LocalServer
    from millrace.llm.open_chat import open_chat
    from millrace.llm.providers.scripted import ScriptedChat, default_reply
    from millrace.llm.settings import EndpointSettings, ModelSettings

    calm = FaultPlan(latency_ms=latency_ms, jitter=0.3)
    server = LocalServer(ScriptedChat(default_reply), calm)
    url = await server.start()
    chat = open_chat(ModelSettings(model="scripted", endpoints=(EndpointSettings(base_url=url),), max_in_flight=in_flight), None)
    requests = ((number, Request(messages=(user(f"question {number}"),))) for number in itertools.count())

    async def ask() -> None:
        async for _ in complete_many(chat, requests):
            pass

    asking = asyncio.create_task(ask())
    await asyncio.sleep(12 * latency_ms / 1000)
    server.misfortune = Misfortune(FaultPlan(faults={"429": 1.0}, fault_tries=10**6, retry_after_s=1.0))
    while not server.counts["429"]:
        await asyncio.sleep(0.001)
    began = time.monotonic()
    while chat.pool.in_flight > in_flight / 2:
        await asyncio.sleep(0.001)
    halved_s, refused = time.monotonic() - began, server.counts["429"]
    await asyncio.sleep(3.0 - halved_s)
    lowest = chat.pool.endpoints[0].limit.limit
    server.misfortune = Misfortune(calm)
    over = time.monotonic()
    while chat.pool.in_flight < 0.9 * in_flight:
        await asyncio.sleep(0.001)
    back_s = time.monotonic() - over
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await chat.close()
    await server.stop()
    return {
        "halved_s": round(halved_s, 3),
        "refused": refused,
        "refused_in_3_s": server.counts["429"],
        "lowest": round(lowest, 1),
        "back_s": round(back_s, 2),
    }


WORKER = """
import asyncio, json, sys, time
from pathlib import Path
from millrace.llm.throttle.rates import RateBudget

async def main():
    budget = RateBudget(Path(sys.argv[1]), requests_per_minute=float(sys.argv[2]))
    times = []
    end = time.time() + float(sys.argv[3])
    while time.time() < end:
        await budget.acquire()
        times.append(time.time())
    budget.close()
    print(json.dumps(times))

asyncio.run(main())
"""


def budget(rate_per_minute: float, seconds: float, processes: int) -> dict[str, object]:
    """Processes that want as much as they can get: what went out in the whole and in the fullest and emptiest windows."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", WORKER, f"{folder}/rates.bin", str(rate_per_minute), str(seconds)]
        workers = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
        taken = [json.loads(worker.communicate()[0]) for worker in workers]
    moments = sorted(moment for one in taken for moment in one)
    begin = max(one[0] for one in taken) + 1.0  # all are there
    end = min(one[-1] for one in taken)

    def windows(width: float) -> list[float]:
        starts = [begin + 0.1 * step for step in range(int((end - begin - width) / 0.1))]
        share = rate_per_minute / 60 * width
        return [(bisect_left(moments, start + width) - bisect_left(moments, start)) / share for start in starts]

    whole = (bisect_left(moments, end) - bisect_left(moments, begin)) / (rate_per_minute / 60 * (end - begin))
    spread = {f"{width:g} s": [round(min(found), 3), round(max(found), 3)] for width in (1.0, 10.0) if (found := windows(width))}
    return {
        "whole": round(whole, 4),
        "window_s": round(end - begin, 1),
        "share_of_budget": spread,
        "each": [len(one) for one in taken],
    }


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("storm", "budget"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {os.getloadavg()[0]:.1f}")
    if options.what == "storm":
        for in_flight, _ in itertools.product((32, 128), range(options.repeats)):
            told = asyncio.run(storm(in_flight, 200))
            print(f"{in_flight} in flight, load {os.getloadavg()[0]:.1f}: {told}")
    else:
        for rate in (600.0, 6000.0):
            told = budget(rate, options.seconds, options.processes)
            print(f"{rate:g} a minute, load {os.getloadavg()[0]:.1f}: {told}")


if __name__ == "__main__":
    main()
