"""Reads the original project's own JSON: experiment settings, and the models config that describes its repositories.

Given alone, an experiment file runs on our workloads that do the same kind of training; where ours is a stand-in, a note says so.
Given with a models config (key `models_config`, a path, or `models`, its content), the original's own training scripts are run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from millrace.errors import did_you_mean

OURS: dict[tuple[str, str], tuple[str, str | None]] = {
    ("pytorch_resnet_cifar10", "resnet20"): ("resnet20", None),
    ("pytorch_resnet_cifar10", "resnet32"): ("resnet32", None),
    ("pytorch_resnet_cifar10", "resnet44"): ("resnet44", None),
    ("pytorch_resnet_cifar10", "resnet56"): ("resnet56", None),
    ("VulBERTa", "mlp"): ("token_mlp", "a token MLP on Python functions, not vulnerability detection"),
    ("VulBERTa", "cnn"): ("token_mlp", "a token MLP on Python functions, not VulBERTa's CNN"),
    ("Person_reID_baseline_pytorch", "densenet121"): ("densenet121", "ten identities (digits) instead of Market-1501"),
    ("Person_reID_baseline_pytorch", "hrnet18"): ("densenet121", "DenseNet-121 stands in for HRNet-18"),
    ("Person_reID_baseline_pytorch", "pcb"): ("densenet121", "DenseNet-121 stands in for PCB"),
    ("MRT-OAST", "default"): ("token_mlp", "a token MLP stands in for code-clone detection"),
    ("bug-localization-by-dnn-and-rvsm", "default"): ("tabular_mlp", "a tabular MLP stands in for bug localisation"),
    ("examples", "mnist"): ("mnist_cnn", None),
    ("examples", "mnist_cnn"): ("mnist_cnn", None),
    ("examples", "mnist_rnn"): ("lstm", None),
    ("examples", "mnist_ff"): ("forward_forward", None),
    ("examples", "siamese"): ("siamese", None),
    ("examples", "word_lm"): ("char_lm", "characters instead of words"),
}
"""The original's (repository, model) → our workload, and what is different about it."""

_RENAMED = {"learning_rate": "lr", "total_epoch": "epochs", "droprate": "dropout", "wd": "weight_decay", "alpha": "weight_decay"}
_TOP_LEVEL = {
    "experiment_name", "description", "comment", "governor", "runs_per_config", "max_retries", "mode", "use_deduplication",
    "historical_csvs", "experiments", "models", "models_config", "seed",
}  # fmt: skip
_MARKS = {"use_deduplication", "historical_csvs", "governor", "models", "models_config", "comment"}


def is_original(data: Any) -> bool:
    """Whether `data` is in the original's format."""
    if not isinstance(data, Mapping):
        return False
    entries = data.get("experiments")
    entries = entries if isinstance(entries, list) else []
    return bool(_MARKS & set(data)) or any(
        isinstance(entry, Mapping) and {"repo", "foreground"} & set(entry) for entry in entries
    )


def translate(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same experiments in our config's words. Keys that mean nothing become notes.

    Raises:
        ValueError: an unknown repository, model or mode; a half that is missing.
    """
    notes: list[str] = []
    models = _models(data)
    found: dict[str, Any] = {"original_columns": True, "external": _externals(models), "notes": notes}
    for key in ("experiment_name", "description", "runs_per_config", "max_retries", "mode", "seed"):
        if data.get(key) is not None:
            found[key] = data[key]
    if data.get("governor"):
        found["energy"] = {"governor": data["governor"]}
    found["deduplicate"] = bool(data.get("use_deduplication", False))
    if data.get("historical_csvs"):
        found["earlier_results"] = data["historical_csvs"]
    # What our own config may say beside it, e.g. by --set.
    for key, value in data.items():
        if key in _TOP_LEVEL or key.startswith(("_", "comment")):
            continue
        if key in _OUR_KEYS:
            found[key] = {**found.get(key, {}), **value} if isinstance(value, dict) else value
        else:
            notes.append(f"the key '{key}' means nothing and is ignored")
    experiments = []
    for number, entry in enumerate(data.get("experiments") or [], 1):
        if not isinstance(entry, Mapping):
            raise ValueError(f"experiments.{number - 1} must be a mapping")
        if {key for key in entry if not key.startswith(("_", "comment"))}:
            experiments.append(_experiment(dict(entry), data, models, notes, f"experiments.{number - 1}"))
    found["experiments"] = experiments
    return found


_OUR_KEYS = {
    "retry_wait_s", "timeout_s", "silent_timeout_s", "grace_s", "max_log_mb", "max_failure_rate", "data", "cool_down",
    "colocation", "energy", "external", "original_columns",
}  # fmt: skip


def _experiment(
    entry: dict[str, Any], data: Mapping[str, Any], models: dict[str, Any], notes: list[str], where: str
) -> dict[str, Any]:
    mode = entry.get("mode") or data.get("mode") or "mutation"
    if mode not in {"default", "mutation", "parallel"}:
        raise ValueError(f"{where}: no mode '{mode}'{did_you_mean(mode, ['default', 'mutation', 'parallel'])}")
    counts = [entry.get("runs_per_config")]
    made: dict[str, Any] = {"mode": mode}
    if mode == "parallel":
        halves = {name: entry.get(name) for name in ("foreground", "background")}
        for name, half in halves.items():
            if not isinstance(half, Mapping) or "repo" not in half:
                raise ValueError(f"{where}: parallel mode needs a {name} with `repo` and `model`")
        front, back = dict(halves["foreground"] or {}), dict(halves["background"] or {})
        counts.append(front.get("runs_per_config"))
        made |= _job(front, models, notes, f"{where}.foreground")
        made["foreground_mode"] = front.get("mode") or ("default" if front.get("hyperparameters") else "mutation")
        made["backgrounds"] = [_job(back, models, notes, f"{where}.background")]
        source = front
    else:
        made |= _job(entry, models, notes, where)
        source = entry
    if source.get("mutate") and (made.get("foreground_mode") or mode) != "default":
        asked = source["mutate"]
        made["mutate"] = (
            asked if not models and asked == ["all"] else [_RENAMED.get(name, name) if not models else name for name in asked]
        )
    count = next((count for count in counts if count is not None), None)
    if count is not None:
        made["runs_per_config"] = count
    return made


def _job(entry: dict[str, Any], models: dict[str, Any], notes: list[str], where: str) -> dict[str, Any]:
    repo, model = str(entry.get("repo", "")), str(entry.get("model", "default"))
    values = dict(entry.get("hyperparameters") or {})
    if models:
        if repo not in models:
            raise ValueError(f"{where}: no repo '{repo}'{did_you_mean(repo, models)}")
        known = models[repo].get("models", ["default"])
        if model not in known:
            raise ValueError(f"{where}: {repo} has no model '{model}'{did_you_mean(model, known)}")
        supported = models[repo].get("supported_hyperparams", {})
        return {"workload": f"{repo}/{model}", "hyperparameters": _supported(values, supported, notes, where)}
    if (repo, model) not in OURS:
        repos = {name for name, _ in OURS}
        if repo not in repos:
            raise ValueError(f"{where}: no repo '{repo}'{did_you_mean(repo, repos)}")
        raise ValueError(f"{where}: {repo} has no model '{model}'{did_you_mean(model, [m for r, m in OURS if r == repo])}")
    workload, difference = OURS[repo, model]
    if difference and (note := f"{repo}/{model} runs as {workload}: {difference}") not in notes:
        notes.append(note)
    renamed: dict[str, Any] = {_RENAMED.get(str(name), str(name)): value for name, value in values.items()}
    return {"workload": workload, "hyperparameters": _supported(renamed, _our_names(workload), notes, where)}


def _our_names(workload: str) -> set[str]:
    from millrace.plugins.loading import load_plugin

    return set(load_plugin("millrace.training.workloads", workload, "workload").PARAMETERS)


def _supported(values: dict[str, Any], names: Any, notes: list[str], where: str) -> dict[str, Any]:
    for name in sorted(set(values) - set(names)):
        notes.append(f"{where}: its training has no hyperparameter '{name}'; it is left out (the original left it out silently)")
    return {name: value for name, value in values.items() if name in names}


def _models(data: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(data.get("models"), Mapping):
        return dict(data["models"])
    if not data.get("models_config"):
        return {}
    path = Path(data["models_config"])
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return dict(content["models"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"models_config {path} cannot be used: {error}") from error


def _externals(models: dict[str, Any]) -> dict[str, Any]:
    """One external workload for each model of each repository."""
    made: dict[str, Any] = {}
    for repo, spec in models.items():
        script = str(spec["train_script"])
        program = ["{python}", script] if script.endswith(".py") else ["bash", script]
        extra = [word for text in (spec.get("required_args") or {}).values() for word in str(text).split()]
        parameters = {
            name: {key: value for key, value in parameter.items() if key in _PARAMETER_KEYS}
            for name, parameter in (spec.get("supported_hyperparams") or {}).items()
        }
        for model in spec.get("models") or ["default"]:
            chosen = [spec["model_flag"], model] if spec.get("model_flag") and model != "default" else []
            made[f"{repo}/{model}"] = {
                "command": [*program, *chosen, *extra],
                "cwd": spec.get("path"),
                "parameters": parameters,
                "metrics": (spec.get("performance_metrics") or {}).get("log_patterns") or {},
                "epochs_parameter": None,
            }
    return made


_PARAMETER_KEYS = {"flag", "type", "default", "range", "distribution", "zero_probability"}
