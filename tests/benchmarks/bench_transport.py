"""What a call costs on the wire, http and https: our transport against plain aiohttp, client libraries, httpx transports.

    python tests/benchmarks/bench_transport.py
    python tests/benchmarks/bench_transport.py --library openai --library litellm --library-python .venv-servers/bin/python
    python tests/benchmarks/bench_transport.py --peer https-slots=my.module:SlotTransport   # another httpx transport, for https

Each client is a process of its own, the server another; they take turns (A B C A B C), and every repeat is printed. Each opens
its connections with a first round of calls that is not measured. CPU is user + system of the client's process for 1,000 calls;
ideal is calls / in flight x latency.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import importlib
import ipaddress
import json
import os
import platform
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

LATENCY_S = 0.2
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Which of these is true, and why? " * 8}]}).encode()
ANSWER = json.dumps({"choices": [{"message": {"content": "the second one " * 8}, "finish_reason": "stop"}]}).encode()

LIBRARIES = ("openai", "litellm")
"""Peers that `--library` names: AsyncOpenAI, and LiteLLM's `acompletion`."""

Call = Callable[[], Awaitable[int]]


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = made.add_extension(x509.SubjectAlternativeName([address]), critical=False).sign(key, hashes.SHA256())
    public, private = folder / "cert.pem", folder / "key.pem"
    public.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    return public, private


async def serve(public: str, private: str) -> None:
    """Both servers; their addresses on one line."""
    from millrace.llm.mock_server.http_server import HttpServer, Incoming, Outgoing

    async def handle(incoming: Incoming) -> Outgoing:
        await asyncio.sleep(LATENCY_S)
        return Outgoing(200, ANSWER)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(public, private)
    urls = [await HttpServer(handle).start(), await HttpServer(handle, tls=context).start()]
    print(*urls, flush=True)
    await asyncio.Event().wait()


async def measure(client: str, url: str, authority: str, calls: int, in_flight: int) -> dict[str, float]:
    """One client: its CPU and its time."""
    trusted = ssl.create_default_context(cafile=authority)
    if client == "aiohttp":
        import aiohttp

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, ssl=trusted)) as session:

            async def plain() -> int:
                async with session.post(url + "/v1/chat/completions", data=BODY) as response:
                    return len(await response.read())

            return await rounds(plain, calls, in_flight)
    if client in LIBRARIES:
        return await rounds(library_call(client, url, authority), calls, in_flight)
    from millrace.llm.transport.exchange import Wire

    module, _, name = client.partition(":")
    kind = getattr(importlib.import_module(module), name)
    transport = kind(verify=trusted) if url.startswith("https") or "millrace" in module else kind()
    wire = Wire(url, [], transport=transport)

    async def wired() -> int:
        return len((await wire.post("/v1/chat/completions", [BODY], timeout_s=60)).body)

    measured = await rounds(wired, calls, in_flight)
    await wire.close()
    return measured


def library_call(client: str, url: str, authority: str) -> Call:
    """A call through another client library, as its users write it: without retries, one client for all calls."""
    asked = json.loads(BODY)
    os.environ |= {"SSL_CERT_FILE": authority, "SSL_VERIFY": authority, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    if client == "openai":
        from openai import AsyncOpenAI  # type: ignore[import-not-found]

        asker = AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=60)

        async def through_openai() -> int:
            await asker.chat.completions.create(**asked)
            return len(ANSWER)

        return through_openai
    import litellm  # type: ignore[import-not-found]

    async def through_litellm() -> int:
        await litellm.acompletion(
            **{**asked, "model": "openai/m"}, api_base=url + "/v1", api_key="none", max_retries=0, timeout=60
        )
        return len(ANSWER)

    return through_litellm


async def rounds(call: Call, calls: int, in_flight: int) -> dict[str, float]:
    """A round that opens the connections, then the measured one: `in_flight` workers over a counter."""

    async def several(count: int) -> None:
        numbers = iter(range(count))

        async def worker() -> None:
            for _ in numbers:
                assert await call() == len(ANSWER)

        await asyncio.gather(*(worker() for _ in range(in_flight)))

    await several(in_flight)
    cpu, started = time.process_time(), time.monotonic()
    await several(calls)
    return {"cpu_s": (time.process_time() - cpu) * 1000 / calls, "window_s": time.monotonic() - started}


@contextlib.contextmanager
def server(folder: Path) -> Iterator[tuple[list[str], Path]]:
    """The servers in a process of their own; their URLs and the authority that signed the certificate."""
    public, private = certificate(folder)
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(public), str(private)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().split(), public
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    """Take the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--in-flight", nargs="+", type=int, default=[32, 128, 512])
    parser.add_argument("--rounds", type=int, default=12, help="calls are so many times the calls in flight")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=MODULE:CLASS",
        help="another httpx transport; its name begins with http- or https-",
    )
    parser.add_argument("--library", action="append", default=[], choices=LIBRARIES, help="a client library as a peer")
    parser.add_argument("--library-python", default=sys.executable, help="the interpreter that has the libraries installed")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--client", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(*options.serve))
        return
    if options.client:
        client, url, authority, calls, in_flight = options.client
        say(json.dumps(asyncio.run(measure(client, url, authority, int(calls), int(in_flight)))))
        return
    clients = {"ours": "millrace.llm.transport.connections:BulkTransport", "aiohttp": "aiohttp"}
    clients |= {name: name for name in options.library} | dict(peer.split("=", 1) for peer in options.peer)
    say(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as (urls, authority):
        for in_flight in options.in_flight:
            calls = in_flight * options.rounds
            for scheme, url in zip(("http", "https"), urls, strict=True):
                told: dict[str, list[dict[str, float]]] = {}
                for _ in range(options.repeats):
                    for name, client in clients.items():
                        if "-" not in name or name.startswith(scheme + "-"):
                            python = options.library_python if name in LIBRARIES else sys.executable
                            arguments = [client, url, str(authority), str(calls), str(in_flight)]
                            told.setdefault(name, []).append(run_client(arguments, python))
                ideal_s = options.rounds * LATENCY_S
                for name, results in told.items():
                    cpu = [one["cpu_s"] for one in results]
                    share = [ideal_s / one["window_s"] for one in results]
                    repeats = ", ".join(f"{one:.3f}" for one in cpu)
                    say(
                        f"{scheme:5} {in_flight:4} {name:14} CPU s per 1,000 {statistics.median(cpu):.3f} ({repeats}); "
                        f"share of the ideal {statistics.median(share):.2f} ({', '.join(f'{one:.2f}' for one in share)})"
                    )


def run_client(arguments: list[str], python: str) -> dict[str, float]:
    """One client in a process of its own."""
    command = [python, __file__, "--client", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def say(text: str) -> None:
    """A line of the result."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
