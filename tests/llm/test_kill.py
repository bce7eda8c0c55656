"""SIGKILL at any moment: what it costs in calls, and that the answers are the same."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from millrace.llm.client.strict_schema import strict_problem
from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing
from tests.llm.servers import run, serving

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = int(os.environ.get("MILLRACE_KILL_ROUNDS", "6"))
"""How many times the client is killed; 20 for the full proof."""

WITHIN_S = 90 + 20 * ROUNDS
"""A hang is a failure; each round starts an interpreter, which on a busy machine takes ten seconds."""

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
@pytest.mark.timeout(WITHIN_S + 30)
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

    run(main(), WITHIN_S)


TWO_JUDGES = """
import asyncio, json, sys
from pathlib import Path
from millrace.llm import Request, user
from millrace.llm.client.batch import complete_many
from millrace.llm.open_chat import open_chat
from millrace.llm.settings import EndpointSettings, ModelSettings

TEXT = {"type": "string"}
CLEAN = {"type": "object", "properties": {"said": TEXT}, "required": ["said"], "additionalProperties": False}
OPEN = {**CLEAN, "additionalProperties": TEXT}

async def main():
    answers = []
    chats = [
        open_chat(ModelSettings(model="judge", endpoints=(EndpointSettings(base_url=url),), max_in_flight=8), Path(sys.argv[1]))
        for url in sys.argv[2:4]
    ]

    async def ask(number, chat):
        asked = (
            (n, Request(messages=(user(f"question {n}"),), schema=(CLEAN, OPEN)[n % 2], temperature=0.0, max_tokens=64))
            for n in range(int(sys.argv[4]))
        )
        async for n, reply in complete_many(chat, asked):
            answers.append((number, n, reply.value["said"]))

    await asyncio.gather(*(ask(number, chat) for number, chat in enumerate(chats)))
    for chat in chats:
        await chat.close()
    print(json.dumps(sorted(answers)))

asyncio.run(main())
"""


class StrictJudge:
    """Refuses schemas outside of the strict subset and a temperature, thinks past small limits, and answers otherwise when it is
    asked in another form.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.answered: Counter[bytes] = Counter()
        self.http = HttpServer(self.handle)

    async def handle(self, incoming: Incoming) -> Outgoing:
        body = json.loads(incoming.body)
        form = body.get("response_format") or {"type": "words"}
        if "temperature" in body:
            return refused("Unsupported parameter: 'temperature' is not supported with this model.")
        if form["type"] == "json_schema" and strict_problem(form["json_schema"]["schema"]):
            return refused("Invalid schema for response_format: 'additionalProperties' must be false")
        await asyncio.sleep(0.01)
        self.answered[incoming.body] += 1
        words = json.dumps(body["messages"][0]["content"])
        number = int(words.split("question ")[1].split('"')[0].split("\\")[0])
        if number % 5 == 0 and body["max_tokens"] < 200:
            return Outgoing(200, b'{"choices":[{"message":{"content":""},"finish_reason":"length"}]}')
        said = json.dumps({"said": f"{self.name} {number} {form['type']}"})
        return Outgoing(200, json.dumps({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}).encode())


def refused(message: str) -> Outgoing:
    return Outgoing(400, json.dumps({"error": {"message": message}}).encode())


@pytest.mark.chaos
@pytest.mark.timeout(WITHIN_S + 30)
def test_two_judges_of_one_name_and_a_strict_server_give_the_same_records_through_kills(tmp_path: Path) -> None:
    async def main() -> None:
        source = random.Random(4)
        judges = [StrictJudge("one"), StrictJudge("two")]
        urls = [await judge.http.start() for judge in judges]

        async def start(folder: Path) -> asyncio.subprocess.Process:
            command = [sys.executable, "-c", TWO_JUDGES, str(folder), *urls, "120"]
            return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)

        undisturbed, _ = await (await start(tmp_path / "undisturbed")).communicate()
        for judge in judges:
            judge.answered.clear()
        for _ in range(ROUNDS):
            goal = sum(sum(judge.answered.values()) for judge in judges) + source.randrange(1, 60)
            process = await start(tmp_path / "killed")
            while sum(sum(judge.answered.values()) for judge in judges) < goal and process.returncode is None:
                await asyncio.sleep(0.002)
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.communicate()
        process = await start(tmp_path / "killed")
        out, _ = await process.communicate()
        assert json.loads(out) == json.loads(undisturbed)
        assert len(json.loads(out)) == 240
        assert sum(count - 1 for judge in judges for count in judge.answered.values()) <= ROUNDS * 2 * 8
        for judge in judges:
            await judge.http.stop()

    run(main(), WITHIN_S)
