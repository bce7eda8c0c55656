"""A whole run without Prefect: the same bytes however it is cut, killed and taken up; the funnel adds up; items can be traced."""

# ruff: noqa: E501 - the programs and documents of the tests stand as they are written

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import RunFailed, UsageError
from millrace.plugins.loading import plugin_names
from millrace.records.synthesis_counts import SeedCounts, Statistics
from millrace.run.journal import read_jsonl
from millrace.synthesis.runs.shard_plan import plan_shards
from millrace.synthesis.runs.stage import Synthesis
from millrace.synthesis.runs.synthesis_run import finish_run, run_serially
from millrace.synthesis.runs.trace import trace
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.work_shard import synthesise_shard
from tests.llm.servers import served
from tests.synthesis.served_model import native_model

ROOT = Path(__file__).parents[2]

FILES = (
    "qa.jsonl",
    "trajectories.jsonl",
    "trees.jsonl",
    "rejected.jsonl",
    "failures.jsonl",
    "dataset/chat.jsonl",
    "dataset/preference.jsonl",
)
SMALL: dict[str, Any] = {"max_depth": 4, "branching_factor": 2, "depth_threshold": 2}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def run_in_processes(config: SynthesisConfig, folder: Path, workers: int) -> Statistics:
    plan = plan_shards(config, folder)
    with ProcessPoolExecutor(workers) as pool:
        list(
            pool.map(synthesise_shard, [config] * len(plan.shards), plan.shards, [plan.result_of(shard) for shard in plan.shards])
        )
    return finish_run(config, plan, folder)


@pytest.mark.parametrize("name", ["math", "python", "rag", "web"])
def test_one_two_and_four_workers_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    limit = 12
    serial = SynthesisConfig(environment_mode=name, number_of_seed=limit, **SMALL)
    run_serially(serial, tmp_path / "1")
    first = contents(tmp_path / "1")
    assert first["qa.jsonl"].count(b"\n") >= limit
    for workers in (2, 4):
        config = serial.model_copy(update={"max_workers": workers, "seeds_per_shard": 12 // workers})
        run_in_processes(config, tmp_path / str(workers), workers)
        assert contents(tmp_path / str(workers)) == first
    if name == "math":  # as many at once as the machine has room for: it is busy, and not the same from second to second
        config = serial.model_copy(update={"max_workers": "auto", "seeds_per_shard": 4})
        run_in_processes(config, tmp_path / "auto", 3)
        assert contents(tmp_path / "auto") == first


def test_the_order_of_the_seeds_changes_nothing_but_their_index(tmp_path: Path) -> None:
    seeds = [f"prime numbers up to {n}" for n in range(20, 40)]
    outcomes = []
    for name, order in (("a", seeds), ("b", seeds[::-1])):
        (tmp_path / f"{name}.json").write_text(json.dumps(order))
        config = SynthesisConfig(environment_mode="math", seeds=tmp_path / f"{name}.json", **SMALL)
        run_serially(config, tmp_path / name)
        items = list(read_jsonl(tmp_path / name / "qa.jsonl"))
        for item in items:
            item["metadata"].pop("seed_index")
            item["provenance"].pop("run_id")  # it names the config, and with it the seeds' file
        outcomes.append(items)
    assert outcomes[0] == outcomes[1]


@pytest.mark.chaos
@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_byte(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.json"
    seeds.write_text(json.dumps([f"prime numbers, roots and sums: {n}" for n in range(100)]))
    settings = {"environment_mode": "math", "seeds": str(seeds), "seeds_per_shard": 10, **SMALL}
    began = time.monotonic()
    run_serially(SynthesisConfig(**settings), tmp_path / "undisturbed")
    whole_s = time.monotonic() - began
    children = multiprocessing.get_context("forkserver")
    children.set_forkserver_preload([run_serially.__module__, "tests"])  # imported once for twenty children
    rng = random.Random(7)
    killed = 0
    for launch in range(20):
        child = children.Process(target=run_serially, args=(SynthesisConfig(**settings), tmp_path / "killed", f"launch {launch}"))
        child.start()
        child.join(rng.random() * min(whole_s, 3.0))  # the first seed waits for its tools' process
        child.kill()
        child.join()
        killed += child.exitcode == -signal.SIGKILL
        assert child.exitcode in (0, -signal.SIGKILL)
        if child.exitcode == 0:  # it was done before: take a late stage away, so that the next kill can fall into it
            (tmp_path / "killed" / "qa.jsonl").unlink()
            next((tmp_path / "killed" / "shards").glob("*.jsonl")).unlink()
    assert killed >= 5
    run_serially(SynthesisConfig(**settings), tmp_path / "killed")
    assert contents(tmp_path / "killed") == contents(tmp_path / "undisturbed")


def test_a_run_taken_up_again_works_only_on_what_is_missing(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode="math", number_of_seed=12, seeds_per_shard=4, **SMALL)
    run_serially(config, tmp_path)
    before = contents(tmp_path)
    shards = sorted((tmp_path / "shards").glob("*.jsonl"))
    lines = shards[1].read_bytes().splitlines(keepends=True)
    shards[1].with_name(shards[1].name + ".part").write_bytes(b"".join(lines[:2]) + lines[2][:50])  # a torn third line
    shards[1].unlink()
    untouched = {path: path.stat().st_mtime_ns for path in (shards[0], shards[2])}
    run_serially(config, tmp_path)
    assert contents(tmp_path) == before
    assert {path: path.stat().st_mtime_ns for path in untouched} == untouched
    again = shards[1].read_bytes().splitlines(keepends=True)
    assert again[:2] == lines[:2]  # the records that were whole are the very same, seconds included


def test_a_seed_that_ends_its_process_is_set_aside_after_three_tries(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "poison_world.py").write_text(
        "import os\nfrom configs.synthesis.calendar_world import CalendarEnvironment\n\n"
        "class Poisoned(CalendarEnvironment):\n    def start(self, seed, rng):\n        if seed == 'poison':\n            os._exit(9)\n"
        "        return super().start(seed, rng)\n\ndef open_environment():\n    return Poisoned()\n"
    )
    (tmp_path / "seeds.json").write_text(json.dumps(["1990", "poison", "2001", "2002"]))
    settings = {"environment_mode": "mine.poison_world", "seeds": str(tmp_path / "seeds.json"), **SMALL}
    program = (
        "import json, sys\nfrom pathlib import Path\nfrom millrace.synthesis.settings import SynthesisConfig\n"
        "from millrace.synthesis.runs.synthesis_run import run_serially\nrun_serially(SynthesisConfig(**json.loads(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-c", program, json.dumps({**settings, "max_failure_rate": 0.3}), str(tmp_path / "run")]
    codes = [subprocess.run(command, env=environment, check=False, capture_output=True).returncode for _ in range(4)]
    assert codes == [9, 9, 9, 0]
    failures = list(read_jsonl(tmp_path / "run" / "failures.jsonl"))
    assert [(failure["seed_data"], failure["reason"]) for failure in failures] == [("poison", "seed_ends_worker")]
    assert len({item["source_id"] for item in read_jsonl(tmp_path / "run" / "qa.jsonl")}) == 3


def test_a_seed_that_ends_its_process_takes_no_seed_with_it_that_was_worked_on_at_the_same_time(tmp_path: Path) -> None:
    """With a chat model several seeds are under way when the process ends; afterwards each of them is tried alone."""
    (tmp_path / "seeds.json").write_text(json.dumps(["year 1990", "year 1991", "poison exit", "year 1992", "year 1993"]))
    program = (
        "import json, sys\nfrom pathlib import Path\nfrom millrace.synthesis.settings import SynthesisConfig\n"
        "from millrace.synthesis.runs.synthesis_run import run_serially\nrun_serially(SynthesisConfig(**json.loads(sys.argv[1])), Path(sys.argv[2]))\n"
    )
    with served(native_model(), latency_ms=50) as (_, url):
        model = {"model": "explorer", "endpoints": [{"base_url": url}]}
        settings = {
            "environment_mode": "tests.synthesis.poison_world", "seeds": str(tmp_path / "seeds.json"), "policy": "chat",
            "chat": {"model": model, "seeds_in_flight": 4}, "max_depth": 2, "max_failure_rate": 0.3,
        }  # fmt: skip
        command = [sys.executable, "-c", program, json.dumps(settings), str(tmp_path / "run")]
        codes = [subprocess.run(command, cwd=ROOT, check=False, capture_output=True).returncode for _ in range(4)]
    # 1: this model calls a tool that the world does not have, and a run without any question fails; each seed has its record
    assert codes == [9, 9, 9, 1]
    assert [record["seed_data"] for record in read_jsonl(tmp_path / "run" / "failures.jsonl")] == ["poison exit"]
    rejected = [(record["seed_data"], record["reason"]) for record in read_jsonl(tmp_path / "run" / "rejected.jsonl")]
    assert sorted(rejected) == [(f"year {year}", "no_usable_step") for year in range(1990, 1994)]


def test_bad_seeds_become_failures_the_funnel_adds_up_and_too_many_fail_the_run(tmp_path: Path) -> None:
    (tmp_path / "seeds.json").write_text(
        json.dumps(["20 primes", 5, "", "x" * 30_000, "20 primes", "30 primes", "40", "41", "42", "43", "44"])
    )
    config = SynthesisConfig(environment_mode="math", seeds=tmp_path / "seeds.json", max_failure_rate=0.5, **SMALL)
    statistics = run_serially(config, tmp_path / "run")
    assert statistics.failures == {"seed_empty": 1, "seed_not_text": 1, "seed_too_long": 1}
    assert statistics.seeds == SeedCounts(lines=11, different=10, repeats=1, failed=3)
    kept, dropped = statistics.items.total, sum(statistics.rejected.values())
    assert statistics.candidates == kept + dropped
    assert len(list(read_jsonl(tmp_path / "run" / "rejected.jsonl"))) == dropped
    with pytest.raises(RunFailed, match="max_failure_rate"):
        run_serially(config.model_copy(update={"max_failure_rate": 0.1}), tmp_path / "run2")


def test_a_target_that_is_not_reached_is_short(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode="math", number_of_seed=3, target_items=1_000, **SMALL)
    assert Synthesis(config).is_short(run_serially(config, tmp_path))


def test_a_folder_that_another_version_began_is_refused_and_keeps_its_records(tmp_path: Path) -> None:
    stage = Synthesis(SynthesisConfig(environment_mode="math", number_of_seed=3, **SMALL))
    stage.check(tmp_path, [])
    run_serially(stage.config, tmp_path / "synthesis")
    stage.check(tmp_path, [])
    shard = next((tmp_path / "synthesis" / "shards").glob("shard-*.jsonl"))
    whole = shard.read_bytes()
    shard.write_bytes(b'{"torn')
    stage.check(tmp_path, [])
    shard.with_name(f"{shard.name}.tries").write_text("src_1 begun\n")  # what a kill leaves beside a shard holds no records
    stage.check(tmp_path, [])
    before = whole.replace(b'"millrace.qa/2"', b'"millrace.qa/0"')
    shard.write_bytes(before)
    with pytest.raises(UsageError, match=r"holds a record of the schema 'millrace\.qa/0', which this version does not read"):
        stage.check(tmp_path, [])
    assert shard.read_bytes() == before


def test_a_record_keeps_the_originals_fields_and_what_proves_it(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode="math", number_of_seed=4, seed_description="a topic", **SMALL)
    run_serially(config, tmp_path)
    item = next(read_jsonl(tmp_path / "qa.jsonl"))
    original = {"question", "answer", "trajectory_id", "reasoning_steps", "source_id", "qa_id", "metadata"}
    ours = {"schema", "answer_type", "aliases", "verifier", "verification", "quality", "provenance", "cost"}
    assert original | ours <= set(item)
    assert {"seed_data", "seed_description", "trajectory_depth", "synthesis_date", "environment_mode"} <= set(item["metadata"])
    assert {"step", "description", "intent", "action", "observation"} <= set(item["reasoning_steps"][0])
    assert item["provenance"]["model"] is None
    trajectory = next(
        record for record in read_jsonl(tmp_path / "trajectories.jsonl") if record["trajectory_id"] == item["trajectory_id"]
    )
    assert {"trajectory_id", "source_id", "seed_data", "total_depth", "nodes"} <= set(trajectory)
    assert {"node_id", "observation", "intent", "action", "parent_id", "children_ids", "depth"} <= set(trajectory["nodes"][0])
    tree = next(record for record in read_jsonl(tmp_path / "trees.jsonl") if record["source_id"] == item["source_id"])
    assert {node["node_id"] for node in trajectory["nodes"]} <= {node["node_id"] for node in tree["nodes"]}
    assert tree["nodes"][0]["node_id"] == "d0_t0_b0"


def test_every_export_has_its_rows_and_the_table_can_be_read(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    exports = plugin_names("millrace.synthesis.exports")
    config = SynthesisConfig(environment_mode="math", number_of_seed=6, exports=tuple(exports), **SMALL)
    verified = run_serially(config, tmp_path).items.verified
    written = {path.stem: path for path in (tmp_path / "dataset").glob("*.jsonl")}
    assert set(exports) <= set(written)
    counts = {name: sum(1 for _ in read_jsonl(written[name])) for name in ("chat", "react", "rl")}
    assert set(counts.values()) == {verified}
    assert pq.read_table(tmp_path / "dataset" / "verified.parquet").num_rows == verified
    assert f"{verified} verified" in (tmp_path / "dataset" / "README.md").read_text()
    chat = next(read_jsonl(tmp_path / "dataset" / "chat.jsonl"))["messages"]
    assert [chat[0]["role"], chat[1]["role"], chat[2]["role"], chat[-1]["role"]] == ["user", "assistant", "tool", "assistant"]


def test_trace_shows_an_item_and_proves_it_again_and_tells_a_corrupted_one(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode="math", number_of_seed=3, **SMALL)
    run_serially(config, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"synthesis": config.model_dump(mode="json")}))
    items = list(read_jsonl(tmp_path / "qa.jsonl"))
    lines, proven = trace(tmp_path, items[0]["qa_id"])
    assert proven
    assert items[0]["question"] in "\n".join(lines)
    items[0]["answer"] = "17"
    (tmp_path / "qa.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    lines, proven = trace(tmp_path, items[0]["qa_id"])
    assert not proven
    assert any("FAILED" in line for line in lines)
    with pytest.raises(UsageError, match="holds no item"):
        trace(tmp_path, "qa_nothing")


def test_no_answer_exceeds_its_share(tmp_path: Path) -> None:
    config = SynthesisConfig(environment_mode="rag", number_of_seed=60, max_answer_share=0.02, **SMALL)
    run_serially(config, tmp_path)
    answers = Counter(item["answer"] for item in read_jsonl(tmp_path / "qa.jsonl"))
    assert max(answers.values()) <= max(1, 0.02 * answers.total())


def test_a_users_own_corpus_gives_proven_questions_too(tmp_path: Path) -> None:
    corpus = tmp_path / "notes"
    corpus.mkdir()
    people = ["Ada Winter", "Bela Stone", "Carl Marsh", "Dora Field", "Emil Brook", "Finn Hollow", "Greta Lake", "Hugo Vale"]
    for number, person in enumerate(people):
        friend, rival = people[(number + 3) % 8], people[(number + 5) % 8]
        (corpus / f"life-{number}.md").write_text(
            f"The keeper of lighthouse number {number + 11} on the northern coast was {person} for many years.\n\n"
            f"In {1801 + 7 * number} a storm came, and {person} sent a boat of kind {'abcdefgh'[number]} to the house of {friend} near the mill.\n\n"
            f"A letter from {friend} in the {number + 3}rd box names {rival} as the owner of {number + 2} red boats in {1850 + 3 * number}.\n"
        )
    config = SynthesisConfig(
        environment_mode="rag",
        environment_kwargs={"corpus": str(corpus)},
        seeds=tmp_path / "s.txt",
        max_answer_share=0.5,
        **SMALL,
    )
    (tmp_path / "s.txt").write_text("\n".join(f"lighthouse and {person}" for person in people))
    assert run_serially(config, tmp_path / "run").items.verified >= 4


def test_new_seeds_reopen_a_finished_run_and_redo_none_of_the_old(tmp_path: Path) -> None:
    from millrace.run.folder import RunFolder, finished_state
    from millrace.run.reopening import take_up
    from millrace.synthesis.runs.shard_plan import seeds_digest
    from millrace.synthesis.runs.stage import Synthesis

    seeds = tmp_path / "seeds.json"
    seeds.write_text(json.dumps([f"primes {n}" for n in range(10)]))
    config = SynthesisConfig(environment_mode="math", seeds=seeds, **SMALL)
    run_dir = tmp_path / "run"
    with RunFolder.open(run_dir, {"synthesis": config}) as folder:
        run_serially(config, run_dir)
        folder.finish("synthesis", "finished", seeds_sha256=seeds_digest(config))
    take_up([Synthesis(config)], run_dir)
    assert finished_state(run_dir, "synthesis", {"synthesis": config}) == "finished"
    before = {path: path.stat().st_mtime_ns for path in (run_dir / "shards").glob("*")}

    seeds.write_text(json.dumps([*(f"primes {n}" for n in reversed(range(10))), "a new one 77"]))
    assert finished_state(run_dir, "synthesis", {"synthesis": config}) == "finished"
    take_up([Synthesis(config)], run_dir)
    assert finished_state(run_dir, "synthesis", {"synthesis": config}) is None
    run_serially(config, run_dir)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "a new one 77" in {tree["seed_data"] for tree in read_jsonl(run_dir / "trees.jsonl")}
    assert {tree["seed_data"] for tree in read_jsonl(run_dir / "trees.jsonl")} >= {f"primes {n}" for n in range(10)}
