"""Reads the original project's own JSON: experiment settings, and the models config that describes its repositories.

Given alone, an experiment file runs on our workloads that do the same kind of training; where ours is a stand-in, a note says so.
Given with a models config (key `models_config`, a path, or `models`, its content), the original's own training scripts are run.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from millrace.compat.experiment_terms import (
    Entry,
    Experiment,
    ForeignTraining,
    Hyperparameter,
    Job,
    Parameter,
    Repositories,
    TrainingFile,
)
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
    ("examples", "mnist_forward_forward"): ("forward_forward", None),
    ("examples", "siamese"): ("siamese", None),
    ("examples", "word_lm"): ("char_lm", "characters instead of words"),
}
"""The original's (repository, model) → our workload, and what is different about it."""

MODES = {"nonparallel": "mutation", "batch": "mutation", "mixed": "mutation"}
"""Other words for a mode there: what is neither `default` nor `parallel` draws hyperparameters."""

GOVERNORS = ("performance", "powersave", "ondemand", "conservative", "schedutil")
"""What the original lets a governor be; it goes on without any other."""

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


def translate(data: Mapping[str, Any]) -> TrainingFile:
    """The same experiments in our config's words. Keys that mean nothing, and entries that are skipped there, become notes.

    Raises:
        ValueError: an unknown mode; nothing is left to run.
    """
    notes: list[str] = []
    models = _models(data)
    found: TrainingFile = {"original_columns": True, "external": _externals(models), "notes": notes}
    same = ("experiment_name", "description", "runs_per_config", "max_retries", "seed")
    found.update(cast("TrainingFile", {key: data[key] for key in same if data.get(key) is not None}))
    if data.get("mode") is not None:
        found["mode"] = MODES.get(data["mode"], data["mode"])
    if data.get("governor") in GOVERNORS:
        found["energy"] = {"governor": data["governor"]}
    elif data.get("governor"):
        notes.append(f"governor: '{data['governor']}' is none of {', '.join(GOVERNORS)}; the CPUs keep theirs")
    found["deduplicate"] = bool(data.get("use_deduplication", False))
    if found["deduplicate"]:
        found["earlier_results"] = _history(data, notes)
    # What our own config may say beside it, e.g. by --set.
    beside = {}
    for key, value in data.items():
        if key in _TOP_LEVEL or key.startswith(("_", "comment")):
            continue
        if key in _OUR_KEYS:
            there: Any = found.get(key) or {}
            beside[key] = {**there, **value} if isinstance(value, dict) else value
        else:
            notes.append(f"the key '{key}' means nothing and is ignored")
    found.update(cast("TrainingFile", beside))
    found["experiments"] = _experiments(data, models, notes)
    return found


def _history(data: Mapping[str, Any], notes: list[str]) -> list[str]:
    paths = [str(path) for path in data.get("historical_csvs") or []]
    notes += [
        f"historical_csvs: there is no {path}; what it held may be drawn again" for path in paths if not Path(path).exists()
    ]
    return [path for path in paths if Path(path).exists()]


def _experiments(data: Mapping[str, Any], models: Repositories, notes: list[str]) -> list[Experiment]:
    experiments: list[Experiment] = []
    for number, entry in enumerate(data.get("experiments") or []):
        where = f"experiments.{number}"
        if not isinstance(entry, Mapping):
            raise ValueError(f"{where} must be a mapping")
        if {key for key in entry if not key.startswith(("_", "comment"))}:
            try:
                experiments.append(_experiment(cast("Entry", dict(entry)), data, models, notes, where))
            except _Skipped as reason:
                notes.append(f"{where} is skipped: {reason}")
    if data.get("experiments") and not experiments:
        raise ValueError(f"nothing is left to run: {'; '.join(notes) or 'every entry is a comment'}")
    return experiments


_OUR_KEYS = {
    "retry_wait_s", "timeout_s", "silent_timeout_s", "grace_s", "max_log_mb", "max_failure_rate", "data", "cool_down",
    "colocation", "energy", "external", "original_columns", "cluster",
}  # fmt: skip


class _Skipped(Exception):
    """The original goes on without this entry, and so do we, with a note."""


def _experiment(entry: Entry, data: Mapping[str, Any], models: Repositories, notes: list[str], where: str) -> Experiment:
    mode = entry.get("mode") or data.get("mode") or "mutation"
    mode = MODES.get(mode, mode)
    if mode not in {"default", "mutation", "parallel"}:
        raise ValueError(f"{where}: no mode '{mode}'{did_you_mean(mode, ['default', 'mutation', 'parallel', *MODES])}")
    counts = [entry.get("runs_per_config")]
    made: Experiment = {"mode": mode}
    source: Entry
    if mode == "parallel":
        front, back = _half(entry.get("foreground"), "foreground"), _half(entry.get("background"), "background")
        counts.append(front.get("runs_per_config"))
        made.update(cast("Experiment", _job(front, models, notes, f"{where}.foreground")))
        made["foreground_mode"] = front.get("mode") or ("default" if front.get("hyperparameters") else "mutation")
        made["backgrounds"] = [_job(back, models, notes, f"{where}.background")]
        source = front
    else:
        made.update(cast("Experiment", _job(entry, models, notes, where)))
        source = entry
    if "mutate_params" in source:
        notes.append(f"{where}: 'mutate_params' means nothing (there as well); what is to be drawn stands under `mutate`")
    if source.get("mutate") and (made.get("foreground_mode") or mode) != "default":
        made["mutate"] = _to_draw(source["mutate"], made["workload"], models, notes, where)
    count = next((count for count in counts if count is not None), None)
    if count == 0:
        raise _Skipped("it asks for 0 runs")
    if count is not None:
        made["runs_per_config"] = count
    return made


def _half(half: Entry | None, name: str) -> Entry:
    if not isinstance(half, Mapping) or "repo" not in half:
        raise _Skipped(f"parallel mode needs a {name} with `repo` and `model`")
    return half


def _to_draw(asked: list[str], workload: str, models: Repositories, notes: list[str], where: str) -> list[str]:
    """The parameters to draw by our names. Those that the training does not have are left out, as the original does."""
    if asked == ["all"]:
        return asked
    if models:
        known = set(models[workload.rpartition("/")[0]].get("supported_hyperparams", {}))
        names = {name: name for name in asked}
    else:
        known = _our_names(workload)
        names = {name: _RENAMED.get(name, name) for name in asked}
    for name in sorted(set(asked)):
        if names[name] not in known:
            notes.append(f"{where}: its training has no hyperparameter '{name}' to draw; it is left out")
    found = list(dict.fromkeys(names[name] for name in asked if names[name] in known))
    if not found:
        raise _Skipped(f"{workload} has none of the hyperparameters that are to be drawn ({', '.join(asked)})")
    return found


def _job(entry: Entry, models: Repositories, notes: list[str], where: str) -> Job:
    repo, model = str(entry.get("repo", "")), str(entry.get("model", "default"))
    values = dict(entry.get("hyperparameters") or {})
    if models:
        if repo not in models:
            raise _Skipped(f"no repo '{repo}'{did_you_mean(repo, models)}")
        known = models[repo].get("models", ["default"])
        if model not in known:
            raise _Skipped(f"{repo} has no model '{model}'{did_you_mean(model, known)}")
        supported = models[repo].get("supported_hyperparams", {})
        return {"workload": f"{repo}/{model}", "hyperparameters": _supported(values, supported, notes, where)}
    if (repo, model) not in OURS:
        repos = {name for name, _ in OURS}
        if repo not in repos:
            raise _Skipped(f"no repo '{repo}'{did_you_mean(repo, repos)}")
        raise _Skipped(f"{repo} has no model '{model}'{did_you_mean(model, [m for r, m in OURS if r == repo])}")
    workload, difference = OURS[repo, model]
    if difference and (note := f"{repo}/{model} runs as {workload}: {difference}") not in notes:
        notes.append(note)
    renamed = {_RENAMED.get(str(name), str(name)): value for name, value in values.items()}
    ours = _supported(renamed, _our_names(workload), notes, where)
    return {"workload": workload, "hyperparameters": ours, "original": f"{repo}/{model}"}


def our_set(repo: str, model: str, values: Mapping[str, Any]) -> tuple[str, dict[str, Hyperparameter]] | None:
    """A hyperparameter set of the original as one of the workload that does the same here; None: there is none."""
    if (repo, model) not in OURS:
        return None
    return OURS[repo, model][0], {_RENAMED.get(name, name): value for name, value in values.items()}


def original_names(original: str, values: Mapping[str, Any]) -> dict[str, Hyperparameter]:
    """Our hyperparameters by the names that the original gives them (`original` is its repository/model)."""
    back = {"lr": "learning_rate"}
    if original.startswith("bug-localization"):
        back["weight_decay"] = "alpha"
    return {back.get(name, name): value for name, value in values.items()}


def _our_names(workload: str) -> set[str]:
    from millrace.plugins.loading import load_plugin

    return set(load_plugin("millrace.training.workloads", workload, "workload").PARAMETERS)


def _supported(
    values: Mapping[str, Hyperparameter], names: Collection[str], notes: list[str], where: str
) -> dict[str, Hyperparameter]:
    for name in sorted(set(values) - set(names)):
        notes.append(f"{where}: its training has no hyperparameter '{name}'; it is left out (the original left it out silently)")
    return {name: value for name, value in values.items() if name in names}


def _models(data: Mapping[str, Any]) -> Repositories:
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


def _externals(models: Repositories) -> dict[str, ForeignTraining]:
    """One external workload for each model of each repository."""
    made: dict[str, ForeignTraining] = {}
    for repo, spec in models.items():
        script = str(spec["train_script"])
        program = ["{python}", script] if script.endswith(".py") else ["bash", script]
        extra = [word for text in (spec.get("required_args") or {}).values() for word in str(text).split()]
        parameters = {
            name: cast("Parameter", {key: value for key, value in parameter.items() if key in _PARAMETER_KEYS})
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
