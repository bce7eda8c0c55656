"""Every tool runs where it can be ended: in time, in memory, in size, while it computes in C, and when nobody waits any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millrace.run.journal import read_jsonl, write_jsonl
from millrace.synthesis.environments import Action, Environment, Observation
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.tools.host import ToolHost
from millrace.synthesis.work_shard import synthesise_shard

WORLD = "tests.synthesis.hostile_world"


@pytest.fixture
def host() -> Iterator[ToolHost]:
    made = ToolHost(WORLD, {}, memory_bytes=256 * 2**20)
    yield made
    made.close()


def call(host: ToolHost, what: str, timeout_s: float = 2.0) -> Observation:
    return host.call("act", {"what": what}, timeout_s=timeout_s, max_chars=1_000)


def test_a_call_that_computes_in_c_is_ended_in_its_time_and_the_next_one_works(host: ToolHost) -> None:
    assert call(host, "echo", 60).text == "echo"
    began = time.monotonic()
    seen = call(host, "compute in C")
    assert (seen.status, seen.cause) == ("error", "ended")
    assert "no answer within 2 s; the call was ended" in seen.text
    assert time.monotonic() - began < 10
    assert call(host, "echo", 60) == Observation("ok", "echo")


@pytest.mark.parametrize(
    ("what", "status", "cause"),
    [
        ("take memory", "error", "ended"),
        ("end the process", "error", "ended"),
        ("segfault", "error", "ended"),
        ("sleep", "error", "ended"),
        ("answer a set", "error", "ended"),
        ("raise", "error", "ended"),
        ("refuse", "error", "refused"),
        ("print", "ok", ""),
        ("write much", "ok", ""),
    ],
)
def test_whatever_a_tool_does_becomes_an_observation(host: ToolHost, what: str, status: str, cause: str) -> None:
    seen = call(host, what, 20 if what not in ("sleep",) else 1)
    assert (seen.status, seen.cause) == (status, cause)
    assert len(seen.text) < 1_200
    assert call(host, "echo", 60).text == "echo"


def calls(host: ToolHost, *whats: str, timeout_s: float = 1.0) -> list[Observation]:
    return host.call_all([Action("act", {"what": what}) for what in whats], timeout_s=timeout_s, max_chars=1_000)


@pytest.mark.parametrize(
    ("bad", "cause"), [("compute in C", "ended"), ("segfault", "ended"), ("raise", "ended"), ("refuse", "refused")]
)
@pytest.mark.parametrize("world", [WORLD, f"{WORLD}_side_by_side"])
def test_of_calls_that_are_made_together_only_the_bad_one_is_ended(world: str, bad: str, cause: str) -> None:
    host = ToolHost(world, {}, memory_bytes=256 * 2**20)
    try:
        call(host, "echo", 60)
        seen = calls(host, "one", bad, "three", "four", timeout_s=2)
    finally:
        host.close()
    assert [seen[place].text for place in (0, 2, 3)] == ["one", "three", "four"]
    assert (seen[1].status, seen[1].cause) == ("error", cause)


def test_more_calls_than_a_pipe_takes_in_are_all_answered_after_one_that_hangs(host: ToolHost) -> None:
    call(host, "echo", 60)
    long = "x" * 9_000
    seen = calls(host, "sleep", *(f"{long}{number}" for number in range(20)), timeout_s=1)
    assert seen[0].cause == "ended"
    assert [one.status for one in seen[1:]] == ["ok"] * 20


def test_calls_made_one_after_another_have_each_their_own_time(host: ToolHost) -> None:
    call(host, "echo", 60)
    assert [one.status for one in calls(host, *["doze"] * 4, timeout_s=0.9)] == ["ok"] * 4


@pytest.mark.parametrize(
    ("tool", "parameters"),
    [
        ("calculator", {"expressions": ["round(1/3, 10**9)"]}),
        ("calculator", {"expressions": ["round(10**5000, -10**9)"]}),
        (
            "cas",
            {
                "operation": "power_sum_of_roots",
                "arguments": {"coefficients": [123457, 765431, 234567, 345679, 456791], "power": 6},
            },
        ),
    ],
)
def test_no_arguments_hang_the_math_tools(tool: str, parameters: dict[str, object], opened: Callable[..., Environment]) -> None:
    environment = opened("math")
    began = time.monotonic()
    environment.tools[tool].run(parameters, timeout_s=5)
    assert time.monotonic() - began < 15
    assert environment.tools["calculator"].run({"expressions": ["1 + 1"]}).text.endswith("1 + 1 = 2")


def test_a_seed_whose_calls_have_to_be_ended_is_set_aside_and_the_shard_goes_on(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode=WORLD, tool_timeout_s=1, max_retries=3)
    for folder in ("plan", "shards"):
        (tmp_path / folder).mkdir()
    seeds = [
        {"source_id": f"s{n}", "content": text, "kwargs": {}, "problem": "", "detail": ""}
        for n, text in enumerate(("compute in C", "echo"))
    ]
    write_jsonl(tmp_path / "plan" / "shard-00000.jsonl", seeds)
    synthesise_shard(config, tmp_path / "plan" / "shard-00000.jsonl", tmp_path / "shards" / "shard-00000.jsonl")
    first, second = read_jsonl(tmp_path / "shards" / "shard-00000.jsonl")
    assert first["failure"]["reason"] == "tools_ended"
    assert second["failure"] is None


def test_the_tools_process_ends_when_whoever_waits_is_killed_in_the_middle_of_a_call() -> None:
    program = (
        "from millrace.synthesis.tools.host import ToolHost\n"
        f"host = ToolHost({WORLD!r}, {{}})\n"
        "host.call('act', {'what': 'echo'}, timeout_s=60, max_chars=9)\n"
        "print(host._process.pid, flush=True)\n"
        "host.call('act', {'what': 'compute in C'}, timeout_s=1, max_chars=9) if False else host._process.stdin.write("
        'b\'{"id": 9, "tool": "act", "parameters": {"what": "compute in C"}, "timeout_s": 1, "max_chars": 9}\\n\')\n'
        "host._process.stdin.flush()\n"
        "import time; time.sleep(60)\n"
    )
    waiter = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert waiter.stdout is not None
    pid = int(waiter.stdout.readline())
    waiter.kill()
    waiter.wait()
    deadline = time.monotonic() + 30
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    alive = _alive(pid)
    if alive:
        os.kill(pid, signal.SIGKILL)
    assert not alive


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False
