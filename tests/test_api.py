"""The library without Prefect: the functions of `import millrace`, and the tables of a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import millrace
from millrace.errors import InputError, UsageError

COIN = {"name": "tests.probing.coin_baseline"}
SMALL = {"baseline": COIN, "lake": {"images": 24}, "sample_size": 24, "failure_batch_size": 8, "target_failure_count": None}


@pytest.fixture(scope="module")
def main_job(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> millrace.RunResults:
    """A finished main job, made in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_CACHE", str(cache))
        return millrace.find_failures(tmp_path_factory.mktemp("api") / "run", probing=SMALL, filtering={"quota": 6})


def test_importing_the_library_is_quick_and_brings_nothing_heavy() -> None:
    heavy = ("prefect", "torch", "distributed", "pyarrow", "numpy", "pydantic")
    program = f"import sys, millrace; print([name for name in {heavy} if name in sys.modules]); print(millrace.probe.__name__)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "probe"]


def test_the_main_job_needs_no_server_and_no_dask() -> None:
    program = (
        "import sys, millrace.api, millrace.run.local\n"
        "import millrace.probing.stage, millrace.filtering.stage, millrace.qa.stage\n"
        "assert not {'prefect', 'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_a_main_job_leaves_tables_that_agree_with_each_other(main_job: millrace.RunResults) -> None:
    assert main_job.states == dict.fromkeys(("probing", "filtering", "qa", "full"), "finished")
    outcomes, failures, items = main_job.outcomes(), main_job.failures(), main_job.items()
    assert outcomes.num_rows == main_job.summary("probing")["out"] > 0
    assert failures.num_rows == main_job.summary("filtering")["out"] > 0
    assert items.num_rows == main_job.summary("qa")["out"] > 0
    failed = set(outcomes.filter(outcomes["failure_id"].is_valid())["id"].to_pylist())
    assert set(items["lineage.outcome_id"].to_pylist()) <= failed
    rates = {row["claim"]: row for row in main_job.rates().to_pylist()}
    for claim, row in rates.items():
        asked = [line for line in outcomes.to_pylist() if line["claim_id"] == claim]
        assert row["failures"] == sum(line["failure_id"] is not None for line in asked)
    assert (main_job.path / "report.html").exists()
    assert (main_job.path / "dataset" / "README.md").exists()


@pytest.mark.slow
def test_the_same_call_again_asks_nothing_and_another_config_is_refused(
    main_job: millrace.RunResults, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(cache))
    before = {path: path.stat().st_mtime_ns for path in main_job.path.rglob("*.jsonl")}
    millrace.find_failures(main_job.path, probing=SMALL, filtering={"quota": 6})
    assert {path: path.stat().st_mtime_ns for path in main_job.path.rglob("*.jsonl")} == before
    with pytest.raises(UsageError, match=r"probing\.seed: 42 there, 7 now"):
        millrace.probe(main_job.path, seed=7, **SMALL)


@pytest.mark.slow
def test_two_processes_give_the_records_of_one(
    main_job: millrace.RunResults, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_CACHE", str(cache))
    again = millrace.find_failures(tmp_path / "run", workers=2, probing=SMALL, filtering={"quota": 6})
    for name in ("probing", "filtering", "qa"):
        ours, theirs = (sorted((run.path / name).glob("shard-*.jsonl")) for run in (main_job, again))
        assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs] != []


def test_seeds_may_be_given_as_texts_and_settings_are_checked(tmp_path: Path) -> None:
    run = millrace.synthesize(tmp_path / "run", "math", seeds=["prime numbers up to 40", "the number 360"])
    assert run.states == {"synthesis": "finished"}
    assert run.items().num_rows == run.summary("synthesis")["items"]["verified"] > 0
    assert (run.path / "report.html").exists()
    with pytest.raises(UsageError, match="unknown key 'max_dept'; did you mean 'max_depth'"):
        millrace.synthesize(tmp_path / "other", "math", max_dept=3)
    with pytest.raises(UsageError, match="none of that name is shipped; did you mean 'math'"):
        millrace.synthesize(tmp_path / "other", "maths")
    assert not (tmp_path / "other").exists()


def test_wrong_settings_and_missing_input_start_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown key 'sample_sise'; did you mean 'sample_size'"):
        millrace.probe(tmp_path / "run", sample_sise=3)
    with pytest.raises(InputError, match="there are no finished outcomes"):
        millrace.select_failures(tmp_path / "run")
    with pytest.raises(InputError, match="there are no selected failures"):
        millrace.write_questions(tmp_path / "run")
    with pytest.raises(TypeError, match="takes the parts probing, filtering and qa, not 'probling'"):
        millrace.find_failures(tmp_path / "run", probling={})
    with pytest.raises(InputError, match="is no run's folder"):
        millrace.open_run(tmp_path)
    assert list(tmp_path.iterdir()) == []
