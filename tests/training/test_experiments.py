"""From configs to runs: modes, counts, deduplication, the original's own files, and what is refused before anything starts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from millrace.config import load_config, parse_config
from millrace.errors import UsageError
from millrace.records.training.energy import EnergyReading
from millrace.training.experiments import plan_runs
from millrace.training.results.attempt_files import new_record
from millrace.training.results.earlier_results import earlier_sets
from millrace.training.results.table_files import original_rows
from millrace.training.settings import TrainingConfig
from millrace.training.stage import plan_lines

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "training"


def config(**data) -> TrainingConfig:
    return parse_config(TrainingConfig, data, where="the test")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.*")), ids=lambda path: path.name)
def test_every_shipped_config_can_be_planned(path):
    assert plan_lines(load_config(TrainingConfig, path))


def test_a_plan_is_the_same_every_time():
    settings = config(experiments=[{"workload": "mnist_cnn"}], runs_per_config=5)
    assert [run.id for run in plan_runs(settings).runs] == [run.id for run in plan_runs(settings).runs]


def test_an_entrys_count_wins_over_the_global_one():
    settings = config(experiments=[{"workload": "lstm", "runs_per_config": 3}, {"workload": "siamese"}], runs_per_config=2)
    assert [run.program.name for run in plan_runs(settings).runs] == ["lstm"] * 3 + ["siamese"] * 2


def test_default_mode_passes_what_is_given_and_nothing_else():
    (run,) = plan_runs(config(experiments=[{"workload": "lstm", "mode": "default", "hyperparameters": {"lr": 0.25}}])).runs
    assert run.hyperparameters == {"lr": 0.25}


def test_two_experiments_on_one_workload_never_draw_the_same_set():
    grid = {"epochs": {"type": "int", "default": 1, "range": [1, 6]}}
    entry = {"workload": "lstm", "mutate": ["epochs"], "parameters": grid, "runs_per_config": 3}
    runs = plan_runs(config(experiments=[entry | {"name": "a"}, entry | {"name": "b"}])).runs
    assert len({run.hyperparameters["epochs"] for run in runs}) == len(runs) == 5
    assert len(plan_runs(config(experiments=[entry | {"name": "a"}, entry | {"name": "b"}], deduplicate=False)).runs) == 6


def test_more_runs_than_exist_are_told_in_a_note():
    grid = {"epochs": {"type": "int", "default": 1, "range": [1, 3]}}
    plan = plan_runs(config(experiments=[{"workload": "lstm", "mutate": ["epochs"], "parameters": grid}], runs_per_config=9))
    assert len(plan.runs) == 2
    assert "9 runs were asked for" in plan.notes[0]


def test_every_copy_of_a_background_has_its_own_name_and_time():
    backgrounds = [
        {"workload": "lstm", "count": 3, "stagger_s": 2.0, "start_after_s": 1.0},
        {"workload": "siamese", "id": "twin"},
    ]
    settings = config(experiments=[{"workload": "mnist_cnn", "mode": "parallel", "backgrounds": backgrounds}])
    (run,) = plan_runs(settings).runs
    assert [(one.id, one.start_after_s) for one in run.backgrounds] == [("lstm-1", 1), ("lstm-2", 3), ("lstm-3", 5), ("twin", 0)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"experiments": [{"workload": "resnet200"}]}, "no workload named 'resnet200'; did you mean 'resnet20'"),
        ({"experiments": [{"workload": "lstm", "hyperparameters": {"learning": 1}}]}, "no hyperparameter 'learning'"),
        ({"experiments": [{"workload": "lstm", "hyperparameters": {"epochs": "ten"}}]}, "epochs of lstm must be int"),
        ({"experiments": [{"workload": "lstm", "hyperparameters": {"epochs": 1.5}}]}, "epochs of lstm must be int"),
        ({"experiments": [{"workload": "lstm", "mode": "paralel"}]}, "mode"),
        ({"experiments": [{"workload": "lstm", "mutate": ["momentum"]}]}, "no parameter named 'momentum'"),
        ({"experiments": [{"workload": "lstm", "mode": "default", "mutate": ["lr"]}]}, "no meaning in mode default"),
        ({"experiments": [{"workload": "lstm", "mode": "default", "backgrounds": [{}]}]}, "backgrounds belong to mode parallel"),
        (
            {"experiments": [{"workload": "lstm", "mode": "parallel", "backgrounds": [{"workload": "x"}]}]},
            "no workload named 'x'",
        ),
        ({"experiments": [{"workload": "forward_forward", "processes": 2}]}, "one process only"),
        ({"experimets": []}, "did you mean 'experiments'"),
        ({"experiments": []}, "at least 1"),
        ({"experiments": [{"name": "a"}, {"name": "a"}]}, "two experiments are called 'a'"),
        ({"experiments": [{"workload": "lstm", "resources": {"device": "tpu"}}]}, "device"),
        ({"energy": {"governor": "fast"}}, "governor"),
    ],
)
def test_a_wrong_config_is_refused_with_a_sentence_that_says_what_is_right(data, message):
    with pytest.raises(UsageError, match=message):
        plan_runs(config(**data))


def test_the_originals_experiment_file_keeps_its_meaning():
    settings = load_config(TrainingConfig, CONFIGS / "original_experiment.json")
    runs = plan_runs(settings).runs
    assert [(run.program.name, run.mode) for run in runs] == [
        ("mnist_cnn", "default"), ("lstm", "mutation"), ("lstm", "mutation"), ("resnet20", "parallel"),
    ]  # fmt: skip
    assert runs[0].hyperparameters == {"epochs": 2, "lr": 0.05}
    assert runs[3].backgrounds[0].hyperparameters == {"epochs": 5, "lr": 0.003}
    assert settings.max_retries == 1


def test_the_originals_foreground_count_and_dead_keys_are_read():
    data = {
        "experiment_name": "x",
        "runs_per_config": 5,
        "use_deduplication": True,
        "results_dir": "old",
        "experiments": [
            {
                "repo": "placeholder",
                "model": "placeholder",
                "mode": "parallel",
                "foreground": {"repo": "examples", "model": "mnist_ff", "mutate": ["all"], "runs_per_config": 2},
                "background": {"repo": "examples", "model": "siamese", "hyperparameters": {"dropout": 0.1, "momentum": 3}},
            }
        ],
    }
    plan = plan_runs(config(**data))
    assert len(plan.runs) == 2
    assert any("'results_dir' means nothing" in note for note in plan.notes)
    assert any("no hyperparameter 'momentum'" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"repo": "exampels", "model": "mnist"}, "no repo 'exampels'; did you mean 'examples'"),
        ({"repo": "examples", "model": "mnst"}, "no model 'mnst'; did you mean 'mnist"),
        ({"mode": "parallel", "foreground": {"repo": "examples", "model": "mnist"}}, "needs a background"),
        ({"mode": "sequential", "repo": "examples", "model": "mnist"}, "no mode 'sequential'"),
    ],
)
def test_a_wrong_original_file_is_an_error_and_not_a_skipped_entry(entry, message):
    with pytest.raises(UsageError, match=message):
        config(experiments=[entry], use_deduplication=False)


def test_the_originals_models_config_makes_its_scripts_runnable(tmp_path):
    models = {
        "models": {
            "VulBERTa": {
                "path": "VulBERTa",
                "train_script": "./train.sh",
                "models": ["mlp", "cnn"],
                "model_flag": "-n",
                "required_args": {"dataset": "-d d2a"},
                "supported_hyperparams": {
                    "epochs": {"flag": "--epochs", "type": "int", "default": 10, "range": [5, 20], "distribution": "uniform"},
                    "learning_rate": {
                        "flag": "--learning_rate", "type": "float", "default": 3e-5, "range": [1.5e-5, 4.5e-5],
                        "distribution": "log_uniform", "zero_probability": 0.0,
                    },
                },
                "performance_metrics": {"log_patterns": {"eval_loss": "eval_loss: ([0-9.]+)"}},
            }
        }
    }  # fmt: skip
    path = tmp_path / "models_config.json"
    path.write_text(json.dumps(models))
    entry = {"repo": "VulBERTa", "model": "mlp", "mode": "mutation", "mutate": ["learning_rate"]}
    settings = config(models_config=str(path), experiments=[entry], runs_per_config=30)
    plan = plan_runs(settings)
    assert len(plan.runs) == 30
    assert settings.external["VulBERTa/mlp"].command == ["bash", "./train.sh", "-n", "mlp", "-d", "d2a"]
    assert set(plan.runs[0].hyperparameters) == {"learning_rate"}


def test_sets_in_the_originals_csv_are_recognised_though_it_wrote_ints_as_floats(tmp_path):
    path = tmp_path / "summary.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["experiment_id", "repository", "model", "hyperparam_epochs"])
        writer.writeheader()
        for epochs in ("2.000000", "3.0", "4"):
            row = {
                "experiment_id": "examples_mnist_rnn_001",
                "repository": "examples",
                "model": "mnist_rnn",
                "hyperparam_epochs": epochs,
            }
            writer.writerow(row)
    grid = {"epochs": {"type": "int", "default": 1, "range": [1, 6]}}
    settings = config(experiments=[{"workload": "lstm", "mutate": ["epochs"], "parameters": grid, "runs_per_config": 9}])
    runs = plan_runs(settings, earlier_sets([path])).runs
    assert sorted(run.hyperparameters["epochs"] for run in runs) == [5, 6]


def test_parallel_and_solo_results_are_not_taken_for_each_other(tmp_path):
    path = tmp_path / "summary.csv"
    row = "experiment_id,repository,model,hyperparam_epochs\nexamples_mnist_rnn_001_parallel,examples,mnist_rnn,2\n"
    path.write_text(row)
    # as the original's own script, and as our workload that does the same
    assert list(earlier_sets([path])) == [("examples/mnist_rnn", True), ("lstm", True)]


def entry(repo: str, model: str, **more) -> dict:
    return {"repo": repo, "model": model} | more


@pytest.mark.parametrize("mode", ["nonparallel", "batch", "mixed"])
def test_other_words_for_a_mode_draw_hyperparameters_as_they_did_in_the_original(mode):
    for data in ({"mode": mode}, {}):
        one = entry("examples", "mnist", mutate=["learning_rate"], **({} if data else {"mode": mode}))
        (run,) = plan_runs(config(use_deduplication=False, experiments=[one], **data)).runs
        assert (run.mode, run.mutated) == ("mutation", ("lr",))


def test_what_the_original_skips_is_skipped_with_a_note_and_the_rest_is_run():
    entries = [
        entry("examples", "mnist_capsule"),
        entry("Gone", "default"),
        {"mode": "parallel", "foreground": entry("examples", "mnist")},
        entry("bug-localization-by-dnn-and-rvsm", "default", mutate=["kfold", "max_iter"]),
        entry("bug-localization-by-dnn-and-rvsm", "default", mutate=["kfold", "alpha", "seed"]),
        entry("examples", "mnist_forward_forward", mode="default"),
        entry("examples", "mnist_ff", mutate_params=["seed"], mode="nonparallel"),
    ]
    plan = plan_runs(config(use_deduplication=True, experiments=entries))
    assert [(run.program.name, run.mutated) for run in plan.runs][:2] == [
        ("tabular_mlp", ("seed", "weight_decay")), ("forward_forward", ()),
    ]  # fmt: skip
    assert len(plan.runs) == 3
    for words in ("no model 'mnist_capsule'", "no repo 'Gone'", "needs a background", "none of the hyperparameters", "'mutate_params' means nothing"):  # fmt: skip  # noqa: E501
        assert any(words in note for note in plan.notes), (words, plan.notes)


def test_a_missing_history_of_the_original_is_a_note_and_not_the_end(tmp_path):
    there = tmp_path / "there.csv"
    there.write_text("experiment_id,repository,model,hyperparam_epochs\na,examples,mnist,3\n")
    paths = [str(there), "results/summary_all.csv"]
    settings = config(use_deduplication=True, historical_csvs=paths, experiments=[entry("examples", "mnist")])
    assert settings.earlier_results == [there]
    assert any("there is no results/summary_all.csv" in note for note in plan_runs(settings).notes)
    unused = config(use_deduplication=False, historical_csvs=paths, experiments=[entry("examples", "mnist")])
    assert (unused.earlier_results, unused.notes) == ([], [])


def test_draws_of_the_originals_history_are_known_by_its_names_and_from_its_foreground_columns(tmp_path):
    path = tmp_path / "raw_data.csv"
    header = "experiment_id,repository,model,hyperparam_learning_rate,mode,fg_repository,fg_model,fg_hyperparam_learning_rate"
    path.write_text(f"{header}\na,examples,mnist_rnn,0.25,,,,\nb_parallel,,,,parallel,examples,mnist_rnn,0.5\n")
    choices = {"lr": {"distribution": "choice", "choices": [0.25, 0.5, 0.75], "default": 1.0}}
    lstm = {"workload": "lstm", "mutate": ["lr"], "parameters": choices, "runs_per_config": 9}
    parallel = lstm | {"name": "beside", "mode": "parallel", "backgrounds": [{"workload": "siamese"}]}
    runs = plan_runs(config(experiments=[lstm, parallel]), earlier_sets([path])).runs
    drawn = {mode: sorted(run.hyperparameters["lr"] for run in runs if run.mode == mode) for mode in ("mutation", "parallel")}
    assert drawn == {"mutation": [0.5, 0.75], "parallel": [0.25, 0.75]}


def test_the_originals_own_scripts_know_its_history_too(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("experiment_id,repository,model,hyperparam_epochs\na,examples,mnist,1\nb,examples,mnist,2.000000\n")
    epochs = {"flag": "-e", "type": "int", "default": 9, "range": [1, 4], "distribution": "uniform"}
    models = {"examples": {"train_script": "train.sh", "models": ["mnist"], "supported_hyperparams": {"epochs": epochs}}}
    settings = config(models=models, use_deduplication=True, historical_csvs=[str(path)], runs_per_config=9, experiments=[entry("examples", "mnist")])  # fmt: skip  # noqa: E501
    runs = plan_runs(settings, earlier_sets(settings.earlier_results)).runs
    assert sorted(run.hyperparameters["epochs"] for run in runs) == [3, 4]


def test_summary_csv_has_the_originals_names_for_runs_hyperparameters_and_all_energy_columns():
    settings = config(use_deduplication=False, experiments=[
        entry("VulBERTa", "cnn", mode="default", hyperparameters={"learning_rate": 0.25}),
        entry("bug-localization-by-dnn-and-rvsm", "default", mode="default", hyperparameters={"alpha": 0.5}),
    ])  # fmt: skip
    energy = [EnergyReading("gpu:0", 300.0, "measured", "nvml_counter", "device", window_s=2.0)]
    runs = plan_runs(settings).runs
    attempts = [replace(new_record(run, 1), ok=True, duration_s=2.0, metrics={"f1": 1.0}, energy=energy) for run in runs]
    first, second = original_rows(attempts)
    assert (first["repository"], first["model"], first["hyperparam_learning_rate"]) == ("VulBERTa", "cnn", 0.25)
    assert (second["repository"], second["hyperparam_alpha"]) == ("bug-localization-by-dnn-and-rvsm", 0.5)
    names = [name for name in first if name.startswith("energy_")]
    assert names == [
        "energy_cpu_pkg_joules", "energy_cpu_ram_joules", "energy_cpu_total_joules", "energy_gpu_avg_watts",
        "energy_gpu_max_watts", "energy_gpu_min_watts", "energy_gpu_total_joules", "energy_gpu_temp_avg_celsius",
        "energy_gpu_temp_max_celsius", "energy_gpu_util_avg_percent", "energy_gpu_util_max_percent",
    ]  # fmt: skip
    assert (first["energy_gpu_avg_watts"], first["energy_gpu_total_joules"]) == (150.0, 300.0)
    assert first["energy_gpu_max_watts"] is None


def test_a_package_that_could_not_be_read_leaves_the_originals_cpu_columns_empty_and_not_smaller():
    run = plan_runs(config(experiments=[{"workload": "lstm", "mode": "default"}])).runs[0]
    readings = [
        EnergyReading("cpu_package:0", 5.0, "measured", "rapl_powercap", "socket"),
        EnergyReading("cpu_package:1", None, "unavailable", "rapl_powercap", "socket", missing_from="measured"),
    ]
    record = replace(new_record(run, 1), ok=True, energy=readings)
    (row,) = original_rows([record])
    assert (row["repository"], row["model"]) == ("examples", "mnist_rnn")
    assert row["energy_cpu_pkg_joules"] is None
    assert row["energy_cpu_total_joules"] is None


def test_an_entry_of_the_original_for_no_run_and_a_governor_it_would_not_set_are_notes():
    entries = [entry("examples", "mnist", runs_per_config=0), entry("examples", "mnist_rnn", mode="default")]
    settings = config(use_deduplication=False, governor="userspace", experiments=entries)
    plan = plan_runs(settings)
    assert [run.program.name for run in plan.runs] == ["lstm"]
    assert settings.energy.governor is None
    assert any("0 runs" in note for note in plan.notes)
    assert any("'userspace' is none of" in note for note in plan.notes)
