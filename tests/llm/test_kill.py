"""SIGKILL at any moment: what it costs in calls, and that the answers are the same."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.llm.servers import run, serving

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("MILLRACE_KILL_ROUNDS", "6"))
"""How many times the client is killed; 20 for the full proof."""

IN_FLIGHT = 16
CALLS = 400

CLIENT = """
import asyncio, json, sys
from pathlib import Path
from millrace.llm import Request, user
from millrace.llm.client.batch import complete_many
from millrace.llm.open_chat import open_chat
from millrace.llm.settings import EndpointSettings, ModelSettings

async def main():
    endpoint = EndpointSettings(base_url=sys.argv[1])
    settings = ModelSettings(model="scripted", endpoints=(endpoint,), max_in_flight=int(sys.argv[3]))
    chat = open_chat(settings, Path(sys.argv[2]))
    asked = ((n, Request(messages=(user(f"question {n}"),))) for n in range(int(sys.argv[4])))
    answers = {n: reply.text async for n, reply in complete_many(chat, asked)}
    await chat.close()
    print(json.dumps(sorted(answers.items())))

asyncio.run(main())
"""


@pytest.mark.chaos
def test_after_random_kills_nothing_is_paid_twice_but_what_was_in_flight(tmp_path: Path) -> None:
    async def main() -> None:
        source = random.Random(20)
        command = [sys.executable, "-c", CLIENT]
        async with serving(latency_ms=25) as (server, url):
            arguments = [url, str(tmp_path), str(IN_FLIGHT), str(CALLS)]
            killed = 0
            for _ in range(ROUNDS):
                done = sum(server.answered.values())
                goal = done + source.randrange(1, max(2, (CALLS - len(server.answered)) // 2))
                process = await asyncio.create_subprocess_exec(*command, *arguments, cwd=ROOT, stdout=subprocess.PIPE)
                while sum(server.answered.values()) < goal and process.returncode is None:
                    await asyncio.sleep(0.002)
                if process.returncode is None:
                    process.send_signal(signal.SIGKILL)
                    killed += 1
                await process.communicate()
            process = await asyncio.create_subprocess_exec(*command, *arguments, cwd=ROOT, stdout=subprocess.PIPE)
            out, _ = await process.communicate()
            assert process.returncode == 0
            answers = json.loads(out)
            assert [number for number, _ in answers] == list(range(CALLS))
            assert len({text for _, text in answers}) == CALLS
            said = server.statistics()
            assert said["distinct"] == CALLS
            assert killed > 0
            assert said["answered_twice"] <= killed * IN_FLIGHT
            requests = said["requests"]
            process = await asyncio.create_subprocess_exec(*command, *arguments, cwd=ROOT, stdout=subprocess.PIPE)
            again, _ = await process.communicate()
            assert json.loads(again) == answers
            assert server.statistics()["requests"] == requests

    run(main())
