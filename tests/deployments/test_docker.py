"""The container files, as far as they can be checked without a container engine.

hadolint reads the Dockerfile, the Compose specification's own schema reads the compose files, and every command, setting and
health check in them is run as a plain process: PostgreSQL, Redis, the server and its services, registration, worker, Dask.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from millrace.orchestration.local_api import free_port
from millrace.processes.supervised import SupervisedProcess, supervised
from tests.e2e.services import Postgres, postgres_programs

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
COMPOSE = ("compose.yaml", "compose.gpu.yaml")


def compose(name: str = "compose.yaml", **variables: str) -> dict[str, Any]:
    """A compose file with `${…}` filled in from `variables`, then from the defaults in the file."""

    def fill(found: re.Match[str]) -> str:
        name, sign, rest = found.group(1), found.group(2) or "", found.group(3) or ""
        assert name in variables or sign == ":-", f"{name}: {rest}"
        return variables.get(name, rest)

    text = re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", fill, (DOCKER / name).read_text())
    return yaml.safe_load(text)


def program(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else name


def test_hadolint_has_nothing_to_say_about_the_dockerfile() -> None:
    done = subprocess.run([program("hadolint"), str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_files_fit_the_schema_of_the_compose_specification() -> None:
    files = [str(DOCKER / name) for name in COMPOSE]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_pinned_and_ours_runs_without_root() -> None:
    dockerfile = (DOCKER / "Dockerfile").read_text()
    images = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", dockerfile, re.MULTILINE)
    images += [service["image"] for service in compose(POSTGRES_PASSWORD="x")["services"].values()]
    for image in images:
        assert re.search(r":(\d+\.\d+\.\d+|\d+\.\d+)-\w+|^millrace:", image), f"{image} floats"
    last_stage = dockerfile.rpartition("\nFROM ")[2]
    assert re.search(r"^USER \d+$", last_stage, re.MULTILINE)
    assert last_stage.index("\nUSER ") < last_stage.index("\nHEALTHCHECK ")


def test_everything_the_dockerfile_copies_is_there_and_sent_to_the_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists(), source
            assert source in sent, f"{source} is left out by .dockerignore"
    assert not (DOCKER / "__init__.py").exists(), "it would hide the docker SDK that Prefect imports"


def test_a_password_left_empty_is_asked_for_and_every_variable_is_explained() -> None:
    used = set(re.findall(r"\$\{(\w+)", "".join((DOCKER / name).read_text() for name in COMPOSE)))
    explained = dict(re.findall(r"^(\w+)=(.*)$", (DOCKER / ".env.example").read_text(), re.MULTILINE))
    assert used == set(explained)
    assert explained["POSTGRES_PASSWORD"] == ""
    with pytest.raises(AssertionError, match="POSTGRES_PASSWORD: set it"):
        compose()


class Composed:
    """The services of compose.yaml as plain processes: the same commands and settings, other addresses."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, programs: Path) -> None:
        self.folder, self._stack, self._programs = folder, stack, programs
        self.postgres = Postgres(programs, stack)
        ports = {name: str(free_port()) for name in ("6379", "4200", "8786", "8787", "8790", "8080")}
        self._ports = ports
        self._addresses = {
            "postgresql+asyncpg://millrace:secret@postgres:5432/millrace": self.postgres.url,
            **{f"{host}:{port}": f"127.0.0.1:{new}" for host in ("redis", "server", "scheduler") for port, new in ports.items()},
            "0.0.0.0": "127.0.0.1",
            **ports,
        }
        self.services = compose(POSTGRES_PASSWORD="secret")["services"]
        self.api = f"http://127.0.0.1:{ports['4200']}/api"

    def environment(self, name: str) -> dict[str, str]:
        """What compose gives a service, here."""
        service = self.services[name]
        found = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "DASK_", "MILLRACE_"))}
        for entry in service.get("env_file", []):
            path = DOCKER / (entry if isinstance(entry, str) else entry["path"])
            if path.exists():
                lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
                found |= dict(line.split("=", 1) for line in lines)
            else:
                assert isinstance(entry, dict), f"{path} is missing"
        found |= {key: self.here(str(value)) for key, value in service.get("environment", {}).items()}
        home = {"PREFECT_HOME": str(self.folder / "prefect"), "MILLRACE_CACHE": str(self.folder / "cache")}
        return {**found, **home, "PREFECT_WORKER_WEBSERVER_PORT": self._ports["8080"]}

    def here(self, text: str) -> str:
        """`text` with the addresses of this machine."""
        for there, here in self._addresses.items():
            text = text.replace(there, here)
        return text

    def command(self, name: str) -> list[str]:
        """A service's command, with the programs of this machine."""
        first, *rest = [self.here(word) for word in self.services[name]["command"]]
        python = {"prefect": ["-m", "prefect"], "dask": ["-m", "dask"], "python": []}
        return [sys.executable, *python[first], *rest] if first in python else [first, *rest]

    def start(self, name: str) -> SupervisedProcess:
        """Start a service."""
        command = self.command(name)
        if command[0] == "redis-server":
            command += ["--port", self._ports["6379"], "--bind", "127.0.0.1", "--dir", str(self.folder)]
        log = self.folder / f"{name}.log"
        return self._stack.enter_context(
            supervised(command, env=self.environment(name), cwd=ROOT, log=log, grace_s=8.0, cgroup=False)
        )

    def run(self, name: str) -> None:
        """Run a service that ends by itself."""
        done = subprocess.run(
            self.command(name), env=self.environment(name), cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def is_healthy(self, name: str) -> bool:
        """What the service's health check says."""
        test = self.services[name].get("healthcheck", {}).get("test")
        if test is None:
            health = re.search(r'^HEALTHCHECK .*CMD \["(.+)"\]$', (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
            assert health
            command = [sys.executable, *health[1].split('", "')[1:]]
        else:
            options = {"pg_isready": ["-h", str(self.postgres.folder), "-p", self.postgres.url.split(":")[-1].split("/")[0]]}
            options["redis-cli"] = ["-p", self._ports["6379"]]
            beside = self._programs / test[1]
            command = [str(beside) if beside.exists() else test[1], *options[test[1]], *test[2:]]
        done = subprocess.run(command, env=self.environment(name), cwd=ROOT, capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    def wait_until_healthy(self, name: str, seconds: float = 150) -> None:
        """Wait for the health check of a service."""
        deadline = time.monotonic() + seconds
        while not self.is_healthy(name):
            log = self.folder / f"{name}.log"
            assert time.monotonic() < deadline, log.read_text()[-2000:] if log.exists() else name
            time.sleep(0.5)


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    programs = postgres_programs()
    missing = [name for name, found in (("PostgreSQL", programs), ("redis-server", shutil.which("redis-server"))) if not found]
    if missing or programs is None:
        pytest.skip(f"{' and '.join(missing)} not installed here")
    with contextlib.ExitStack() as stack:
        yield Composed(tmp_path, stack, programs)


@pytest.mark.flow
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_every_command_and_health_check_of_the_compose_file_works_as_a_plain_process(composed: Composed, tmp_path: Path) -> None:
    assert not composed.is_healthy("server")
    assert not composed.is_healthy("redis")
    composed.wait_until_healthy("postgres")
    for name in ("redis", "server", "services", "scheduler", "dask-worker"):
        composed.start(name)
    for name in ("redis", "scheduler", "server", "dask-worker"):
        composed.wait_until_healthy(name)
    composed.run("register")
    composed.start("worker")
    composed.wait_until_healthy("worker")
    with httpx.Client(base_url=composed.api, timeout=60) as api:
        deployment = api.get("/deployments/name/synthesis/synthesis").raise_for_status().json()["id"]
        config = {"environment_mode": "math", "number_of_seed": 2}
        asked = {"parameters": {"config": config, "run_dir": str(tmp_path / "run")}}
        run = api.post(f"/deployments/{deployment}/create_flow_run", json=asked).raise_for_status().json()["id"]
        deadline = time.monotonic() + 200
        state = ""
        while state not in {"COMPLETED", "FAILED", "CRASHED"}:
            assert time.monotonic() < deadline, f"{state}: {(tmp_path / 'worker.log').read_text()[-3000:]}"
            time.sleep(1.0)
            state = api.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"]
        assert state == "COMPLETED", (tmp_path / "worker.log").read_text()[-3000:]
        # events go through Redis from the API to the services, which write them down
        while not api.post("/events/filter", json={"filter": {"event": {"prefix": ["prefect.flow-run.Completed"]}}}).json()[
            "total"
        ]:
            assert time.monotonic() < deadline, "no event of the run was written down"
            time.sleep(1.0)
    assert (tmp_path / "run" / "qa.jsonl").exists()
