"""`python -m flows.training doctor`: what this host can measure and contain, and how to get more. Changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from msgspec import to_builtins

from millrace.plugins.loading import load_plugin, plugin_names
from millrace.processes.containment import GUARANTEES, MODES, memory_controller
from millrace.processes.supervised import available_containment
from millrace.records.training.doctor import HostMeans, Means, SourceMeans
from millrace.training.energy import Unavailable
from millrace.training.launch import mps_runs
from millrace.training.machine import describe, free_memory_bytes, governor, hottest_c, load_now
from millrace.training.meter import SOURCES
from millrace.training.settings import EnergySettings

HELP = {
    "pidns": "run as root, or with CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN)",
    "userns": "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 or user.max_user_namespaces > 0; in Docker use "
    "--security-opt seccomp=unconfined",
    "cgroup": "a delegated cgroup 2: start under `systemd-run --user --scope -p Delegate=yes`, or in Docker with "
    "--cgroupns=private and a writable /sys/fs/cgroup",
}


def examine(settings: EnergySettings | None = None) -> HostMeans:
    """Everything that can be known, as one record."""
    settings = settings or EnergySettings()
    energy: dict[str, SourceMeans] = {}
    for name in dict.fromkeys([*plugin_names(SOURCES), *settings.providers]):
        try:
            source = load_plugin(SOURCES, name, "energy source").open_source(settings)
        except Unavailable as reason:
            energy[name] = SourceMeans(available=False, reason=str(reason), used=False)
        else:
            domains = [domain.name for domain in source.domains]
            energy[name] = SourceMeans(available=True, domains=domains, used=name in settings.providers)
            source.close()
    reasons = available_containment()
    with governor(None) as found:
        governors = found.before
    load = load_now()
    return HostMeans(
        machine=describe(),
        containment={name: Means(available=reason is None, reason=reason) for name, reason in reasons.items()},
        containment_used=next(mode for mode in MODES if reasons[mode] is None),
        energy=energy,
        cpu_seconds=load.busy_s is not None,
        pressure=load.waited_s is not None,
        temperature_c=hottest_c(),
        governor=governors,
        free_memory_bytes=free_memory_bytes(),
        mps=mps_runs(),
        cgroup_limits_memory=reasons["cgroup"] is None and memory_controller(),
    )


def main(argv: Sequence[str]) -> int:
    """Print it, for people or with --json for programs."""
    found = examine()
    if "--json" in argv:
        sys.stdout.write(json.dumps(to_builtins(found), indent=2) + "\n")
        return 0
    sys.stdout.write("\n".join(_lines(found)) + "\n")
    return 0


def _lines(found: HostMeans) -> list[str]:
    machine = found.machine
    lines = [f"{machine.host}: {machine.cpu}, {machine.cpus_usable} of {machine.cpus} CPUs, {machine.system}", ""]
    lines.append("Containment (what happens to the processes of a run that is killed)")
    for name, one in found.containment.items():
        memory = "memory limits" if found.cgroup_limits_memory else "no memory limits: it has no memory controller"
        used = (
            ""
            if name in {found.containment_used, "cgroup"} or not one.available
            else f" (not used: {found.containment_used} is stronger)"
        )
        what = GUARANTEES.get(name, f"exact CPU time, atomic kill, {memory if one.available else 'memory limits'}")
        lines.append(f"  {_mark(one.available)} {name:10} {what}{used}")
        if not one.available:
            lines.append(f"      {one.reason}; to get it: {HELP.get(name, 'Linux')}")
    lines += [f"  used: {found.containment_used}", "", "Energy"]
    for name, source in found.energy.items():
        what = ", ".join(source.domains or []) if source.available else str(source.reason)
        unused = " (not used: it is not under energy.providers)" if source.available and not source.used else ""
        lines.append(f"  {_mark(source.available)} {name:10} {what}{unused}")
    if not any(source.used for source in found.energy.values()):
        lines.append("  Nothing here measures energy: results will say `unavailable`; CPU seconds are the figure of cost.")
        lines.append("  An estimate from CPU seconds needs your own energy.watts_per_core.")
    lines += ["", "Machine"]
    lines.append(f"  {_mark(found.pressure)} pressure   how long processes waited for a CPU (PSI)")
    lines.append(f"  {_mark(found.governor is not None)} governor   {', '.join(found.governor or ['not shown by this host'])}")
    heat = found.temperature_c
    shown = "no sensor" if heat is None else f"{heat:.0f} C, used with cool_down.temperature_below_c"
    lines.append(f"  {_mark(heat is not None)} heat       {shown}")
    lines.append(
        f"  {_mark(found.mps)} MPS        hard GPU memory limits, used with resources.gpu_memory_limit_mb"
        + ("" if found.mps else ": nvidia-cuda-mps-control -d")
    )
    return lines


def _mark(available: bool) -> str:
    return "yes" if available else "no "
