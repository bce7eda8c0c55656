"""What every training process needs before it starts: environment, limits, a folder, and its command kept readable."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import UNSET

from millrace.errors import ItemFailed
from millrace.processes.supervised import Limits, SupervisedProcess
from millrace.records.training.backgrounds import ContainmentInForce
from millrace.run.journal import write_atomic
from millrace.training.machine import free_memory_bytes
from millrace.training.programs import ROOT, Program
from millrace.training.settings import TrainingJob

IFF_UP, IFF_LOOPBACK = 0x1, 0x8
"""Bits of an interface's flags (linux/if.h)."""


def environment_for(job: TrainingJob, program: Program) -> dict[str, str]:
    """The environment of a training: ours, without Prefect's and with threads and device memory bounded as asked."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    env["PYTHONUNBUFFERED"] = "1"
    if program.external is None:
        # its working folder is its own: a workload named by its dotted path is found where this process would find it
        env["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), *(place for place in sys.path if place)]))
    # Threads that wait by spinning take the CPUs from the training beside them: two trainings of two threads each on two busy
    # cores were seen to come to a near standstill (64 samples in 10 s). Your own setting wins.
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if job.processes > 1 and "GLOO_SOCKET_IFNAME" not in env and (loopback := loopback_interface()):
        env["GLOO_SOCKET_IFNAME"] = loopback  # gloo would ask for the address of the host's own name
    if job.resources.threads:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            env[name] = str(job.resources.threads)
    if job.resources.gpu_memory_limit_mb:
        index = job.resources.device.partition(":")[2] or "0"
        env["CUDA_MPS_PINNED_DEVICE_MEM_LIMIT"] = f"{index}={job.resources.gpu_memory_limit_mb}M"
    return env | job.env


def loopback_interface(folder: Path = Path("/sys/class/net")) -> str | None:
    """The network interface that is this machine itself and is up; None: the kernel does not show one in `folder`."""
    for interface in sorted(folder.glob("*/flags")):
        try:
            flags = int(interface.read_text(), 16)
        except (OSError, ValueError):
            continue
        if flags & IFF_LOOPBACK and flags & IFF_UP:
            return interface.parent.name
    return None


def processes_in_force(job: TrainingJob, program: Program) -> int | None:
    """The number of processes that a training really has; None: unknown, because its command has no place for it."""
    return job.processes if program.takes("processes") else None


def device_in_force(job: TrainingJob, program: Program) -> str | None:
    """The device that a training really has; None: unknown, because its command has no place for it."""
    return job.resources.device if program.takes("device") else None


def gpu_memory_limited_by(job: TrainingJob, program: Program) -> str | None:
    """Which limit on GPU memory is in force; where one was asked for and is not, why not. None: none was asked for."""
    resources, ours = job.resources, program.external is None
    asked = resources.gpu_memory_limit_mb or resources.gpu_memory_fraction
    if asked and ours and not resources.device.startswith("cuda"):
        return f"none: the device is {resources.device}"
    found: list[str] = []
    if resources.gpu_memory_limit_mb:
        found.append("CUDA MPS" if mps_runs() else "none: no MPS daemon runs, so gpu_memory_limit_mb has no effect")
    if resources.gpu_memory_fraction and ours:
        found.append("torch allocator (each process by itself)")
    elif resources.gpu_memory_fraction and program.takes("gpu_memory_fraction"):
        found.append("its program was told the fraction; whether it obeys is not known")
    elif resources.gpu_memory_fraction:
        found.append("none: its command has no {gpu_memory_fraction}, so the fraction has no effect")
    return "; ".join(found) or None


def containment_of(process: SupervisedProcess, job: TrainingJob, program: Program) -> ContainmentInForce:
    """How a started training is contained, for its record."""
    cage = process.containment
    return ContainmentInForce(
        name=cage.name,
        guarantee=cage.guarantee,
        cgroup=cage.cgroup,
        memory_limited_by=cage.memory_limited_by,
        cpu_limited_by=cage.cpu_limited_by if job.resources.cpu_limit else UNSET,
        gpu_memory_limited_by=gpu_memory_limited_by(job, program),
    )


def mps_runs(folder: Path | None = None) -> bool:
    """Whether NVIDIA's MPS daemon listens; the folder of its pipes stays when it has ended."""
    folder = folder or Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))  # noqa: S108 - MPS' own default
    try:
        os.close(os.open(folder / "control", os.O_WRONLY | os.O_NONBLOCK))  # refused when no process reads
    except OSError:
        return False
    return stat.S_ISFIFO((folder / "control").stat().st_mode)


def limits_for(job: TrainingJob) -> Limits:
    """Nice value, CPUs and memory."""
    resources = job.resources
    return Limits(
        nice=resources.nice,
        cpu_affinity=tuple(resources.cpu_affinity) if resources.cpu_affinity else None,
        memory_bytes=resources.memory_limit_mb << 20 if resources.memory_limit_mb else None,
        cpus=resources.cpu_limit,
    )


def check_free_memory(job: TrainingJob) -> None:
    """Refuse to start what cannot fit.

    Raises:
        ItemFailed: less memory is free than the job says it needs.
    """
    need, free = job.resources.memory_need_mb, free_memory_bytes()
    if need and free is not None and free < need << 20:
        raise ItemFailed("no_memory_free", f"it needs {need} MiB, and {free >> 20} MiB are free")


def keep_command(path: Path, command: Sequence[str], cwd: Path, extra_env: Mapping[str, str], out: Path) -> None:
    """Write `command` as a script that can be read and run by hand (only the variables that we added are in it).

    Run by hand it writes into a folder of its own: what is recorded in `out` stays as it was.
    """
    added = {name: value for name, value in sorted(extra_env.items()) if os.environ.get(name) != value}
    lines = ["#!/bin/sh", f"# What was run in {out}, for reading and repeating by hand."]
    lines += ["# It writes into a new folder; OUT=… chooses another one.", 'OUT="${OUT:-$(mktemp -d)}"', 'mkdir -p "$OUT"']
    lines += ['OUT="$(cd "$OUT" && pwd)"', 'echo "writing into $OUT" >&2', f"cd {_elsewhere(str(cwd), str(out))}"]
    lines += [f"export {name}={_elsewhere(value, str(out))}" for name, value in added.items() if not _secret(name)]
    lines.append("exec " + " \\\n    ".join(_elsewhere(part, str(out)) for part in command))
    write_atomic(path, "\n".join(lines) + "\n")
    path.chmod(0o755)


def _elsewhere(text: str, out: str) -> str:
    """`text` for a shell, with the recorded folder replaced by the one in the script's `$OUT`."""
    return '"$OUT"'.join(shlex.quote(part) if part else "" for part in text.split(out)) or "''"


def _secret(name: str) -> bool:
    return any(word in name.upper() for word in ("KEY", "TOKEN", "SECRET", "PASSWORD"))
