"""From a workload's name to a program: its hyperparameters, its metrics, its command line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from millrace.errors import UsageError, did_you_mean
from millrace.plugins.loading import load_plugin, plugin_names
from millrace.training.parameters import Parameter, Value, arguments
from millrace.training.settings import External, TrainingConfig, TrainingJob

WORKLOADS = "millrace.training.workloads"
ROOT = Path(__file__).resolve().parents[2]
MEET_ON_LOOPBACK = ("--nnodes=1", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")
"""Options of torchrun for one machine. `--standalone` looks the host's own name up, which hangs where it does not resolve."""


@dataclass(frozen=True)
class Program:
    """What can be trained: `external` is None for our own workloads, which print events."""

    name: str
    parameters: dict[str, Parameter]
    metrics: tuple[str, ...]
    scales: bool
    takes_data: bool = False
    external: External | None = None

    def complete(self, given: dict[str, Value], *, where: str) -> dict[str, Value]:
        """`given`, checked and converted to the parameters' types.

        Raises:
            UsageError: an unknown parameter, or a value of another type.
        """
        made: dict[str, Value] = {}
        for name, value in given.items():
            if name not in self.parameters:
                raise UsageError(f"{where}: {self.name} has no hyperparameter '{name}'{did_you_mean(name, self.parameters)}")
            try:
                made[name] = self.parameters[name].convert(value)
            except (ValueError, TypeError) as error:
                raise UsageError(f"{where}: {name} of {self.name} must be {self.parameters[name].type}: {error}") from error
        return made

    def takes(self, name: str) -> bool:
        """Whether a resource is passed to the program: ours takes all, a foreign one those that its command has a place for."""
        return self.external is None or any("{" + name + "}" in part for part in self.external.command)

    def expected_epochs(self, values: dict[str, Value]) -> int | None:
        """How many epochs a complete training has; None: unknown."""
        name = "epochs" if self.external is None else self.external.epochs_parameter
        if name is None or name not in self.parameters:
            return None
        value = values.get(name, self.parameters[name].default)
        return int(value) if value is not None else None


def load_program(name: str, config: TrainingConfig, overrides: dict[str, Parameter] | None = None, *, where: str = "") -> Program:
    """The workload `name`: one of the user's external commands, a file in workloads/, or a dotted path.

    Raises:
        UsageError: there is none of that name.
    """
    changed = overrides or {}
    if name in config.external:
        external = config.external[name]
        required = external.required_metrics if external.required_metrics is not None else sorted(external.metrics)
        return Program(name, external.parameters | changed, tuple(required), scales=False, external=external)
    if name not in plugin_names(WORKLOADS) and "." not in name:
        known = [*plugin_names(WORKLOADS), *config.external]
        raise UsageError(f"{where or 'workload'}: no workload named '{name}'{did_you_mean(name, known)}")
    module = load_plugin(WORKLOADS, name, "workload")
    return Program(name, dict(module.PARAMETERS) | changed, tuple(module.METRICS), module.SCALES, module.TAKES_DATA)


def build_command(
    program: Program, job: TrainingJob, values: dict[str, Value], out: Path, *, data: Path | None = None, repeat: bool = False
) -> list[str]:
    """The argv that trains `program` with exactly `values`."""
    resources = job.resources
    if program.external is not None:
        filled = {
            "out": str(out),
            "threads": str(resources.threads or ""),
            "device": resources.device,
            "processes": str(job.processes),
            "gpu_memory_fraction": repr(resources.gpu_memory_fraction or 1.0),
            "python": sys.executable,
        }
        command = [_filled(part, filled) for part in program.external.command]
        how = program.external
        return [*command, *arguments(program.parameters, values, underscores=how.underscores, passed_as=how.passed_as)]
    worker = ["-m", "millrace.training.trainer.worker", program.name]
    if job.processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", *MEET_ON_LOOPBACK, f"--nproc-per-node={job.processes}", *worker]
    else:
        command = [sys.executable, *worker]
    command += [*arguments(program.parameters, values), "--out", str(out), "--device", resources.device]
    if resources.threads:
        command += ["--threads", str(resources.threads)]
    if resources.gpu_memory_fraction:
        command += ["--gpu-memory-fraction", repr(resources.gpu_memory_fraction)]
    if job.checkpoint_every:
        command += ["--checkpoint-every", str(job.checkpoint_every), "--resume"]
    if data is not None and program.takes_data:
        command += ["--data", str(data)]
    return command + (["--repeat"] if repeat else [])


def _filled(part: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        part = part.replace("{" + name + "}", value)
    return part
