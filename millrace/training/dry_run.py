"""The list of runs that `--dry-run` prints. Touches nothing and imports neither torch nor Prefect."""

from __future__ import annotations

from millrace.training.campaign import plan_for
from millrace.training.parameters import spell
from millrace.training.settings import TrainingConfig


def plan_lines(config: TrainingConfig) -> list[str]:
    """Every run with its id, its hyperparameters and its backgrounds; then what is to be said about them."""
    plan = plan_for(config)
    lines = [f"{len(plan.runs)} runs, at most {config.max_retries + 1} attempts each:"]
    for run in plan.runs:
        lines.append(f"  {run.id}  {run.title}")
        fixed = {name: value for name, value in run.hyperparameters.items() if name not in run.mutated}
        if fixed:
            lines.append(f"      fixed: {' '.join(f'{name}={spell(value)}' for name, value in sorted(fixed.items()))}")
        for background in run.backgrounds:
            values = " ".join(f"{name}={spell(value)}" for name, value in sorted(background.hyperparameters.items()))
            need = "" if background.required else ", not required"
            lines.append(f"      beside: {background.id} ({background.workload}{' ' + values if values else ''}{need})")
    return lines + [f"note: {note}" for note in plan.notes]
