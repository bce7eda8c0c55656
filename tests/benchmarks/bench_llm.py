"""How fast the chat client is, against aiohttp and AsyncOpenAI, in one run on one machine.

    pip install -e '.[bench]'
    python tests/benchmarks/bench_llm.py throughput      # calls: share of the ideal, CPU per 1,000 calls, memory
    python tests/benchmarks/bench_llm.py processes       # the same from two processes
    python tests/benchmarks/bench_llm.py faults          # 5 % faults; calls sent per answer kept, answers lost
    python tests/benchmarks/bench_llm.py overload        # a server that takes 64 in flight, or 100 per second
    python tests/benchmarks/bench_llm.py refusals        # 1 % random 429: what they cost
    python tests/benchmarks/bench_llm.py images          # 100 KB and 1 MB images
    python tests/benchmarks/bench_llm.py kill            # SIGKILL at half-way: calls paid twice
    python tests/benchmarks/bench_llm.py memory          # 10,000 against 200,000 calls

Every client is a process of its own, the server too; they take turns (A B C A B C), and every repeat is printed. Ideal is
ceil(calls / in flight) x latency. CPU is user + system of the client process between its first request and its last answer.
Peers that bring a large set of dependencies of their own (distilabel, Curator) are not run here: see README.md for how they
were measured.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import math
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ("ours", "ours_bare", "aiohttp", "openai", "httpx")


# --------------------------------------------------------------------------------------------------------------- clients


def prompt(number: int) -> str:
    return f"Question {number}: which of these two sentences is true, and why? Answer in one word. " * 4


def picture(folder: Path, number: int) -> Path:
    """Eight questions about each of 50 images, as in probing: whoever keeps an encoded image has the use of it seven times."""
    return folder / f"{number // 8 % 50}.png"


class Meter:
    """CPU and time of this process from the first request to the last answer."""

    def __enter__(self) -> Meter:
        self.started = time.monotonic()
        self.cpu_before = time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.window_s = time.monotonic() - self.started
        self.cpu_s = time.process_time() - self.cpu_before


async def run_ours(options: argparse.Namespace, image: Path | None) -> dict[str, Any]:
    from millrace.llm import ImagePart, Request, user
    from millrace.llm.client.batch import complete_many
    from millrace.llm.open_chat import open_chat
    from millrace.llm.settings import EndpointSettings, ModelSettings

    bare = options.client == "ours_bare"
    settings = ModelSettings(
        model="scripted",
        endpoints=(EndpointSettings(base_url=options.url),),
        max_in_flight=options.in_flight,
        cache="off" if bare else "run",
    )
    chat = open_chat(settings, None if bare else Path(options.folder))

    def requests() -> Iterator[tuple[int, Request]]:
        for number in range(options.start, options.start + options.calls):
            parts = (prompt(number),) if image is None else (prompt(number), ImagePart(path=str(picture(image, number))))
            yield number, Request(messages=(user(*parts),), stage="bench")

    kept = 0
    with Meter() as meter:
        async for _, reply in complete_many(chat, requests()):
            kept += not isinstance(reply, Exception)
    await chat.close()
    return {"kept": kept, "meter": meter, "limit": round(chat.pool.endpoints[0].limit.limit)}


async def bounded(options: argparse.Namespace, one: Any) -> tuple[int, Meter]:
    """`in_flight` workers over a generator: the fairest simple loop for the peers."""
    numbers = iter(range(options.start, options.start + options.calls))
    kept = 0

    async def worker() -> None:
        nonlocal kept
        for number in numbers:
            with contextlib.suppress(Exception):
                good = await one(number)
                kept += good

    with Meter() as meter:
        await asyncio.gather(*(worker() for _ in range(options.in_flight)))
    return kept, meter


def message(number: int, image: Path | None) -> dict[str, Any]:
    if image is None:
        return {"role": "user", "content": prompt(number)}
    url = "data:image/png;base64," + base64.b64encode(picture(image, number).read_bytes()).decode()
    return {
        "role": "user",
        "content": [{"type": "text", "text": prompt(number)}, {"type": "image_url", "image_url": {"url": url}}],
    }


async def run_aiohttp(options: argparse.Namespace, image: Path | None) -> dict[str, Any]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> bool:
            body = {"model": "scripted", "messages": [message(number, image)]}
            async with session.post(options.url + "/chat/completions", json=body) as response:
                value = await response.json()
                return bool(value["choices"][0]["message"]["content"])

        kept, meter = await bounded(options, one)
    return {"kept": kept, "meter": meter}


async def run_httpx(options: argparse.Namespace, image: Path | None) -> dict[str, Any]:
    import httpx

    limits = httpx.Limits(max_connections=options.in_flight, max_keepalive_connections=options.in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=120) as client:

        async def one(number: int) -> bool:
            body = {"model": "scripted", "messages": [message(number, image)]}
            response = await client.post(options.url + "/chat/completions", json=body)
            return bool(response.json()["choices"][0]["message"]["content"])

        kept, meter = await bounded(options, one)
    return {"kept": kept, "meter": meter}


async def run_openai(options: argparse.Namespace, image: Path | None) -> dict[str, Any]:
    """The way its users write it: a semaphore and a gather."""
    import openai

    client = openai.AsyncOpenAI(base_url=options.url, api_key="none")
    gate = asyncio.Semaphore(options.in_flight)

    async def one(number: int) -> bool:
        async with gate:
            made = await client.chat.completions.create(model="scripted", messages=[message(number, image)])  # type: ignore[list-item]
            return bool(made.choices[0].message.content)

    with Meter() as meter:
        numbers = range(options.start, options.start + options.calls)
        done = await asyncio.gather(*(one(number) for number in numbers), return_exceptions=True)
    await client.close()
    return {"kept": sum(1 for value in done if value is True), "meter": meter}


def client_main(options: argparse.Namespace) -> None:
    image = Path(options.image) if options.image else None
    run = {"ours": run_ours, "ours_bare": run_ours, "aiohttp": run_aiohttp, "openai": run_openai, "httpx": run_httpx}[
        options.client
    ]
    result = asyncio.run(run(options, image))
    meter = result.pop("meter")
    say(
        json.dumps(
            {
                **result,
                "window_s": meter.window_s,
                "cpu_s": meter.cpu_s,
                "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


# ------------------------------------------------------------------------------------------------------------- harness


@contextlib.contextmanager
def server(*arguments: str) -> Iterator[str]:
    command = [sys.executable, "-m", "millrace.llm.mock_server", "--port", "0", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
    finally:
        process.terminate()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


def statistics_of(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        found: dict[str, Any] = json.loads(answer.read())
    return found


def command_for(
    client: str, url: str, calls: int, in_flight: int, *, start: int = 0, image: str = "", folder: str = ""
) -> list[str]:
    arguments = ["--client", client, "--url", url, "--calls", str(calls), "--in-flight", str(in_flight), "--start", str(start)]
    return [sys.executable, __file__, "client", *arguments, "--image", image, "--folder", folder]


def measured(client: str, url: str, calls: int, in_flight: int, *, image: str = "", limit_s: float = 90.0) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = command_for(client, url, calls, in_flight, image=image, folder=folder)
        started = time.monotonic()
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            return {"kept": None, "window_s": math.inf, "cpu_s": math.nan, "peak_mb": math.nan}
    if done.returncode != 0:
        raise SystemExit(f"{client} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "wall_s": time.monotonic() - started}


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def machine() -> str:
    processor = platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"


def show(client: str, rows: list[dict[str, Any]], calls: int, in_flight: int, ideal_s: float) -> None:
    shares = [ideal_s / row["window_s"] for row in rows]
    cpu = [row["cpu_s"] * 1000 / calls for row in rows]
    all_shares = " ".join(f"{share:.2f}" for share in shares)
    all_cpu = " ".join(f"{value:.2f}" for value in cpu)
    peak = max(row["peak_mb"] for row in rows)
    say(
        f"  {client:10s} in flight {in_flight:4d}  share {statistics.median(shares):.2f} [{all_shares}]"
        f"  CPU s/1000 {statistics.median(cpu):.2f} [{all_cpu}]  peak {peak:.0f} MB"
        f"  with start-up {rows[0]['wall_s']:.1f} s  kept {rows[0]['kept']}/{calls}"
    )


def throughput(options: argparse.Namespace) -> None:
    plan = {32: 1000, 128: 2048, 512: 4096}
    for in_flight, calls in plan.items():
        rows: dict[str, list[dict[str, Any]]] = {}
        for _ in range(options.repeats):
            for client in options.clients:
                if client == "httpx" and in_flight > 32:
                    continue  # its pool collapses above 64 connections and takes minutes
                with server("--latency-ms", "200") as url:
                    rows.setdefault(client, []).append(measured(client, url, calls, in_flight))
        for client, found in rows.items():
            show(client, found, calls, in_flight, math.ceil(calls / in_flight) * 0.2)


def processes(options: argparse.Namespace) -> None:
    calls, in_flight = 2048, 128
    for client in [name for name in options.clients if name != "httpx"]:
        for _ in range(options.repeats):
            with server("--latency-ms", "200") as url, tempfile.TemporaryDirectory() as folder:
                commands = [
                    command_for(client, url, calls, in_flight, start=number * calls, folder=folder) for number in range(2)
                ]
                running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for command in commands]
                rows = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in running]
            window = max(row["window_s"] for row in rows)
            cpu = sum(row["cpu_s"] for row in rows) * 1000 / (2 * calls)
            say(
                f"  {client:10s} two processes, {in_flight} in flight each:"
                f" share {math.ceil(calls / in_flight) * 0.2 / window:.2f}"
                f"  CPU s/1000 {cpu:.2f}"
            )


FAULTS = ("500=0.01", "429=0.01", "reset=0.01", "malformed=0.01", "slow=0.01")


def faults(options: argparse.Namespace) -> None:
    calls, in_flight = options.calls or 2000, 128
    wrong = [part for fault in FAULTS for part in ("--fault", fault)]
    for _ in range(options.repeats):
        for client in [name for name in options.clients if name not in {"httpx", "ours_bare"}]:
            clean = faulty = None
            with server("--latency-ms", "200") as url:
                clean = measured(client, url, calls, in_flight)
            with server("--latency-ms", "200", *wrong) as url:
                faulty = measured(client, url, calls, in_flight)
                said = statistics_of(url)
            kept = faulty["kept"] or 0
            say(
                f"  {client:10s} kept {kept}/{calls}  requests per kept {said['requests'] / max(1, kept):.3f}"
                f"  answered twice {said['answered_twice']}  window {faulty['window_s']:.1f} s"
                f" = {faulty['window_s'] / clean['window_s']:.2f} x fault-free"
            )


def overload(options: argparse.Namespace) -> None:
    cases = {
        "64 in flight": (3000, 256, ("--max-in-flight", "64", "--retry-after-s", "1"), math.ceil(3000 / 64) * 0.2),
        "100 per second": (1000, 128, ("--requests-per-second", "100", "--retry-after-s", "1"), 1000 / 100),
        "1 % random 429": (2000, 128, ("--fault", "429=0.01"), math.ceil(2000 / 128) * 0.2),
    }
    for name, (calls, in_flight, arguments, ideal_s) in cases.items():
        for _ in range(options.repeats):
            for client in [name for name in options.clients if name in {"ours", "openai"}]:
                with server("--latency-ms", "200", *arguments) as url:
                    row = measured(client, url, calls, in_flight)
                    said = statistics_of(url)
                kept = row["kept"] or 0
                limit = f"  limit at the end {row['limit']}" if "limit" in row else ""
                say(
                    f"  {name}: {client:8s} share {ideal_s / row['window_s']:.2f}"
                    f"  requests per answer {said['requests'] / max(1, kept):.2f}"
                    f"  kept {kept}/{calls}{limit}"
                )


def refusals(options: argparse.Namespace) -> None:
    """1 % random 429 against none, with so many calls that the last one's wait hardly counts."""
    calls, in_flight = options.calls or 10_000, 128
    for _ in range(options.repeats):
        for client in [name for name in options.clients if name in {"ours", "openai"}]:
            with server("--latency-ms", "200") as url:
                clean = measured(client, url, calls, in_flight)
            with server("--latency-ms", "200", "--fault", "429=0.01") as url:
                row = measured(client, url, calls, in_flight)
            share = math.ceil(calls / in_flight) * 0.2 / row["window_s"]
            say(
                f"  {client:8s} share {share:.2f}  throughput {clean['window_s'] / row['window_s']:.2f} of that without"
                f"  kept {row['kept']}/{calls}"
            )


def images(options: argparse.Namespace) -> None:
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        for name, side in (("100 KB", 186), ("1 MB", 592)):
            pictures = Path(folder) / str(side)
            pictures.mkdir()
            for number in range(50):
                path = pictures / f"{number}.png"
                Image.frombytes("RGB", (side, side), os.urandom(side * side * 3)).save(path, compress_level=0)
            for _ in range(options.repeats):
                for client in options.clients:
                    with server("--latency-ms", "20") as url:
                        row = measured(client, url, 400, 32, image=str(pictures))
                    say(
                        f"  {name} ({path.stat().st_size // 1000} KB) {client:10s} {400 / row['window_s']:.0f} calls/s"
                        f"  CPU ms per call {row['cpu_s'] * 1000 / 400:.2f}  peak {row['peak_mb']:.0f} MB"
                    )


def kill(options: argparse.Namespace) -> None:
    calls, in_flight = 2000, 128
    for _ in range(options.repeats):
        with server("--latency-ms", "200") as url, tempfile.TemporaryDirectory() as folder:
            command = command_for("ours", url, calls, in_flight, folder=folder)
            first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
            while statistics_of(url)["answered"] < calls // 2:
                time.sleep(0.02)
            first.send_signal(signal.SIGKILL)
            first.wait()
            started = time.monotonic()
            before = statistics_of(url)["requests"]
            second = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            while statistics_of(url)["requests"] == before:
                time.sleep(0.005)
            first_request_s = time.monotonic() - started
            row = json.loads(second.communicate(timeout=120)[0].splitlines()[-1])
            said = statistics_of(url)
            third = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            again = statistics_of(url)["requests"] - said["requests"]
        say(
            f"  paid twice {said['answered_twice']} (in flight {in_flight})  kept {row['kept']}/{calls}"
            f"  first request of the re-run after {first_request_s:.2f} s"
            f"  a finished run asks again {again} times  {json.loads(third.stdout)['kept']} kept"
        )


def memory(options: argparse.Namespace) -> None:
    for client in [name for name in options.clients if name in {"ours", "aiohttp", "openai"}]:
        peaks = {}
        most = 20_000 if client == "openai" else options.calls or 100_000  # its growth per call shows already, in minutes
        for calls in (10_000, most):
            with server() as url:
                peaks[calls] = measured(client, url, calls, 128, limit_s=600)["peak_mb"]
        (few, small), (many, large) = peaks.items()
        say(
            f"  {client:10s} {few} calls {small:.0f} MB, {many} calls {large:.0f} MB:"
            f" {(large - small) * 1024 / (many - few):.2f} KB per call"
        )


def main() -> None:
    sys.path.insert(0, str(ROOT))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    benchmarks = {
        "throughput": throughput,
        "processes": processes,
        "faults": faults,
        "overload": overload,
        "refusals": refusals,
        "images": images,
        "kill": kill,
        "memory": memory,
    }
    parser.add_argument("what", choices=["client", *benchmarks])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--clients", nargs="+", default=["ours", "ours_bare", "aiohttp", "openai"], choices=CLIENTS)
    parser.add_argument("--client", choices=CLIENTS)
    parser.add_argument("--url")
    parser.add_argument("--calls", type=int)
    parser.add_argument("--in-flight", type=int)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--image", default="")
    parser.add_argument("--folder", default="")
    options = parser.parse_args()
    if options.what == "client":
        client_main(options)
        return
    say(f"{options.what}: {machine()}")
    benchmarks[options.what](options)


if __name__ == "__main__":
    main()
