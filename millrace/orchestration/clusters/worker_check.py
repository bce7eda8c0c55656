"""Before any work: can the workers of a Dask cluster do this run's shards?

A scheduler that nobody answers at, other code on a worker, a folder that is not shared, a resource that no worker has: found
later, each of these costs hours or hangs for ever (Dask keeps a task that fits no worker waiting). Here it is one sentence.

Covers: every worker there is when it looks. Does not cover: workers that join later.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import platform
import urllib.request
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypedDict
from urllib.parse import urlsplit

from millrace.config import cache_folder
from millrace.errors import UsageError
from millrace.run.ids import hash_files

PROOF = ".shared-with-workers-"
"""How the names of the files start that workers are asked to read back."""


@cache
def versions_here() -> dict[str, str]:
    """What must be the same in the flow and in every worker. Code of another commit can give other records."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "dask": importlib.metadata.version("dask"),
        "distributed": importlib.metadata.version("distributed"),
        "prefect": importlib.metadata.version("prefect"),
        "Millrace's code": hash_files(*code_folders(Path(__file__).resolve().parents[2]), length=12),
    }


def code_folders(library: Path) -> list[Path]:
    """Where Millrace's code is: `library` (the folder `millrace`), with `tasks` and `flows` beside it in a checkout.

    Installed, they are inside it, and what lies beside it belongs to others.
    """
    inside = (library / "flows").is_dir()
    return [library] if inside else [library, library.parent / "tasks", library.parent / "flows"]


class WorkerView(TypedDict):
    """What a worker sees. A dictionary, because a worker with other code must be able to answer too."""

    versions: dict[str, str]
    seen: dict[str, bool]
    """Path → whether the worker reads there what the flow wrote."""
    cache: str
    """The worker's own cache folder."""


def look_here(tokens: Mapping[str, str]) -> WorkerView:
    """Runs in a worker: its versions and whether it reads what the flow wrote.

    Args:
        tokens: path → text of the flow's token files; a path that starts with `cache:` is below the worker's own cache folder.
    """
    seen = {}
    for name, text in tokens.items():
        path = cache_folder() / name.removeprefix("cache:") if name.startswith("cache:") else Path(name)
        try:
            seen[name] = path.read_text() == text
        except OSError:
            seen[name] = False
    return {"versions": versions_here(), "seen": seen, "cache": str(cache_folder())}


async def reaches(url: str) -> bool:
    """Runs in a worker: whether the API at `url` answers there."""

    def ask() -> bool:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=5):  # noqa: S310 - the flow's own API
                return True
        except OSError:
            return False

    return await asyncio.to_thread(ask)


def check_workers(client: Any, run_dir: Path, reserved: Sequence[Mapping[str, float]], api: str | None = None) -> None:
    """See that every worker that `client` knows of can work on the run.

    Args:
        client: a `distributed.Client`.
        run_dir: the run's folder; it need not exist yet and is not left behind.
        reserved: each is what some worker must offer.
        api: the address of Prefect's API, when it is known.

    Raises:
        UsageError: what is wrong with which worker, and what to do.
    """
    with _tokens(run_dir) as tokens:
        found = client.run(look_here, tokens, on_error="return")
    for worker, answer in sorted(found.items()):
        if isinstance(answer, BaseException):
            raise UsageError(
                f"the Dask worker {worker} cannot run this project's code ({type(answer).__name__}: {answer}); "
                "start it in a virtual environment with Millrace installed"
            )
        _same_versions(worker, answer["versions"])
        _shared(worker, answer, run_dir)
    offered = {worker: facts["resources"] for worker, facts in client.scheduler_info(n_workers=-1)["workers"].items()}
    for resources in reserved:
        _offered(resources, offered)
    if api:
        for worker, answered in sorted(client.run(reaches, api, on_error="return").items()):
            if answered is not True:
                local = urlsplit(api).hostname in {"127.0.0.1", "localhost", "::1"}
                other = "an address that other machines reach" if local else "a server that they reach"
                raise UsageError(f"the Dask worker {worker} cannot reach Prefect's API at {api}; set PREFECT_API_URL to {other}")


def hosts_of(client: Any, resources: Mapping[str, float], without: Collection[str] = ()) -> dict[str, str]:
    """A worker for each host (but those in `without`), among those that offer `resources`: host → worker, sorted by host."""
    found: dict[str, str] = {}
    for address, facts in sorted(client.scheduler_info(n_workers=-1)["workers"].items()):
        fits = all(facts["resources"].get(name, 0) >= amount for name, amount in resources.items())
        if fits and facts["host"] not in without:
            found.setdefault(str(facts["host"]), address)
    return dict(sorted(found.items()))


def check_hosts(client: Any, wanted: int, resources: Mapping[str, float]) -> None:
    """See that torchrun's `nnodes` have a host each.

    Raises:
        UsageError: the workers are on fewer hosts.
    """
    hosts = list(hosts_of(client, resources))
    if len(hosts) < wanted:
        having = f" that offer {_listed(resources)}" if resources else ""
        raise UsageError(
            f"torchrun.nnodes is {wanted}, but the Dask workers{having} are on {len(hosts)} host{'s' * (len(hosts) != 1)} "
            f"({', '.join(hosts) or 'none'}); start a worker on each machine (docs/cluster.md)"
        )


def _same_versions(worker: str, theirs: Mapping[str, str]) -> None:
    differing = [f"{name} {theirs[name]} there, {ours} here" for name, ours in versions_here().items() if theirs[name] != ours]
    if differing:
        raise UsageError(
            f"the Dask worker {worker} differs from the flow ({'; '.join(differing)}); "
            "install the same commit with its constraints.txt there, and start the worker again"
        )


def _shared(worker: str, answer: WorkerView, run_dir: Path) -> None:
    for name, seen in answer["seen"].items():
        if seen:
            continue
        if name.startswith("cache:"):
            raise UsageError(
                f"the Dask worker {worker} has another cache folder ({answer['cache']}) than the flow ({cache_folder()}); "
                "set MILLRACE_CACHE to one shared folder for both"
            )
        raise UsageError(
            f"the Dask worker {worker} does not see the run folder {run_dir}; choose a --run-dir that is shared by all machines "
            "under the same path"
        )


def _offered(resources: Mapping[str, float], offered: Mapping[str, Mapping[str, float]]) -> None:
    if not resources or any(all(has.get(name, 0) >= amount for name, amount in resources.items()) for has in offered.values()):
        return
    listed = _listed(resources)
    kinds = sorted({_listed(has) for has in offered.values() if has})
    raise UsageError(
        f"no Dask worker offers {listed} (resources of the cluster or a stage; "
        f"offered: {' | '.join(kinds) or 'nothing'}); start one with "
        f'`dask worker SCHEDULER --resources "{listed}"`, or set cluster.class_path=gpus'
    )


def _listed(resources: Mapping[str, float]) -> str:
    return ",".join(f"{name}={amount:g}" for name, amount in sorted(resources.items()))


@contextlib.contextmanager
def _tokens(run_dir: Path) -> Iterator[dict[str, str]]:
    """Files that only a worker with the same folders can read; afterwards everything is as before."""
    text, name = uuid.uuid4().hex, PROOF + uuid.uuid4().hex[:12]
    run_dir = Path(run_dir).absolute()
    made: list[Path] = []
    try:
        try:
            for folder in (run_dir, cache_folder()):
                made += _make(folder)
                (folder / name).write_text(text)
        except OSError as error:
            raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
        yield {str(run_dir / name): text, f"cache:{name}": text}
    finally:
        for folder in (run_dir, cache_folder()):
            (folder / name).unlink(missing_ok=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # somebody has put something into it meanwhile
                folder.rmdir()


def _make(folder: Path) -> Sequence[Path]:
    """Make a folder with its parents; which of them were made, the outermost first."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
    return missing[::-1]
