"""Works through one shard of seeds: sample, select, write, prove, append; what a Prefect task and a test call alike.

A seed's whole result is one journal record, so a seed is either done or not. A seed that ends its worker is tried 3 times in a
run and then recorded as a failure of its own; starting the run again starts the count again: a killed run is no seed's fault.
"""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from pathlib import Path

import msgspec
import orjson
from msgspec.structs import replace

from millrace.config import fingerprint_of
from millrace.errors import ItemFailed, MillraceError
from millrace.llm.run_chats import chat_folder
from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin
from millrace.processes.turns import Turns
from millrace.records.synthesis import Cost, QAItem, Rejected, SeedOutcome
from millrace.records.synthesis_counts import ShardTally
from millrace.records.trajectories import Chain, Seed, Trajectory
from millrace.run.ids import canonical, content_id, random_for
from millrace.run.journal import Journal, read_records
from millrace.synthesis.checks import signature_of
from millrace.synthesis.environments import Environment
from millrace.synthesis.going_back import go_back
from millrace.synthesis.lines import failed, item_record, nothing, steps_of, trajectory_record
from millrace.synthesis.policies import Policy
from millrace.synthesis.runs.tally import Clock, Tally, tally_of
from millrace.synthesis.sampling import Tree, sample_trajectories
from millrace.synthesis.selection import candidates, select_trajectories
from millrace.synthesis.settings import POLICIES, SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.verification import prove
from millrace.synthesis.writing import answer_text, language_of, write_question

MAX_TRIES = 3
"""Times a seed may end its worker within one run."""

TRACEBACK_CHARS = 4_000
"""How much of a traceback a failure keeps: its end, where the cause is."""

WORKERS = "workers"
"""The folder beside the shards' in which workers agree how many of them work at once, while a run with `auto` goes on."""

_open: dict[bytes, Environment] = {}


def worker_environment(config: SynthesisConfig) -> Environment:
    """The environment of this worker process, opened once and kept until the process ends."""
    # a forked process must not share its parent's connections and sandboxes
    key = canonical([os.getpid(), config.environment_mode, config.environment_kwargs, config.available_tools])
    if key not in _open:
        _open[key] = open_environment(config)
    return _open[key]


def close_environments() -> None:
    """Close what `worker_environment` keeps; for tests and for commands that go on to something else."""
    while _open:
        _open.popitem()[1].close()


def run_id_of(config: SynthesisConfig) -> str:
    """The same for every run of the same config."""
    return content_id("run", fingerprint_of(config))


def synthesise_shard(config: SynthesisConfig, plan: Path, path: Path, launch: str = "") -> ShardTally:
    """Do what is left of a shard and return its tally: how many seeds, items and failures it holds, and why items were rejected.

    Args:
        config: the run's settings.
        plan: the shard's seeds (see `runs/shard_plan.py`).
        path: where the finished shard is to be.
        launch: names the run of the flow that asks; tries of a seed are counted within it.

    Raises:
        MillraceError: the run cannot go on (an endpoint that is down); everything done is kept.
    """
    tally = Tally(tally_of(path))
    with Journal(path) as journal:
        known = journal.path if journal.done else journal.part
        for record in read_records(known, SeedOutcome) if known.exists() else ():
            tally.add(record)
        if not journal.done:
            waiting = [seed for seed in read_records(plan, Seed) if seed.source_id not in journal.ids]
            tries = path.with_name(path.name + ".tries")
            try:
                asyncio.run(_work(config, waiting, journal, tally, tries, launch))
            finally:
                tally.write()
            journal.finish()
            tries.unlink(missing_ok=True)
    return tally.counts


async def _work(config: SynthesisConfig, waiting: list[Seed], journal: Journal, tally: Tally, tries: Path, launch: str) -> None:
    if not waiting:
        return
    counted = _tries_of(tries, launch)
    environment = worker_environment(config)
    policy = policy_of(config, chat_folder(journal.path), journal.path.stem)
    slots = asyncio.Semaphore(config.chat.seeds_in_flight)
    stopped = asyncio.Event()
    turns = Turns(journal.path.parents[1] / WORKERS) if config.max_workers == "auto" else None

    async def one(seed: Seed) -> None:
        if turns is not None:
            await turns.wait()
        if counted.get(seed.source_id, 0) >= MAX_TRIES:
            record = failed(seed, "seed_ends_worker", f"its worker process ended {MAX_TRIES} times; the seed is set aside")
        else:
            os.write(starts, f"{launch} {seed.source_id}\n".encode())
            record = await synthesise_seed(config, environment, policy, seed)
        journal.append(record)
        tally.add(record)
        tally.show()

    async def one_of_many(seed: Seed) -> None:
        async with slots:
            if stopped.is_set():
                return
            try:
                await one(seed)
            except BaseException:  # no seed is begun any more; those under way come to their own end
                stopped.set()
                raise

    starts = os.open(tries, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        together = policy.many_seeds
        for seed in waiting:  # whoever was at work when a worker ended is tried alone: only the guilty one ends it again
            if not together or counted.get(seed.source_id):
                await one(seed)
        if together:
            rest = [seed for seed in waiting if not counted.get(seed.source_id)]
            for trouble in await asyncio.gather(*map(one_of_many, rest), return_exceptions=True):
                if trouble is not None:
                    raise trouble
    finally:
        os.close(starts)
        if turns is not None:
            turns.close()
        await policy.close()


def policy_of(config: SynthesisConfig, folder: Path | None = None, shard: str = "") -> Policy:
    """The policy a config names; a chat model keeps what it was paid for in `folder`."""
    policy = load_plugin(POLICIES, config.policy, "policy").policy_of(config, folder, shard)
    return completed(policy, Policy, f"the policy '{config.policy}'")  # type: ignore[no-any-return]


async def synthesise_seed(config: SynthesisConfig, environment: Environment, policy: Policy, seed: Seed) -> SeedOutcome:
    """Everything that comes of one seed, as one journal record; what goes wrong is in it."""
    if seed.problem:
        return failed(seed, seed.problem, seed.detail)
    began = time.monotonic()
    try:
        record = await _synthesise(config, environment, policy, seed)
        if record.tree is not None and not record.items and not record.rejected:
            record = replace(record, rejected=[nothing(seed, record.tree)])
    except ItemFailed as error:
        record = failed(seed, error.reason, error.detail)
    except MillraceError:
        raise
    except Exception as error:  # noqa: BLE001 - one seed's accident becomes a record and never ends the shard
        trace = traceback.format_exc()[-TRACEBACK_CHARS:]
        record = failed(seed, "internal_error", f"{type(error).__name__}: {error}", trace)
    try:
        orjson.dumps(record, default=_fields)
    except TypeError as error:  # a plug-in's value: said as what it is, and not as a worker that died
        detail = f"the environment '{environment.name}' gave a value that JSON cannot hold: {error}"
        record = failed(seed, "value_not_json", detail)
    spent = policy.spent_on(seed.content)  # a seed that came to nothing was paid for too
    if spent is not None and not record.spent:
        record = replace(record, spent=spent)
    return replace(record, seconds=round(time.monotonic() - began, 4))


def _fields(part: object) -> list[object]:
    """What is in a struct, to look for values that JSON cannot hold; msgspec would write a set as a list."""
    if not isinstance(part, msgspec.Struct):
        raise TypeError(f"type is not JSON serializable: {type(part).__name__}")
    values = [getattr(part, name) for name in part.__struct_fields__]
    return [value for value in values if value is not msgspec.UNSET]


async def _synthesise(config: SynthesisConfig, environment: Environment, policy: Policy, seed: Seed) -> SeedOutcome:
    source_id, content = seed.source_id, seed.content
    clock = Clock()
    start = environment.start(content, random_for(config.seed, source_id, "start"))
    tree = Tree(content, source_id, start, config.seed_description)
    await sample_trajectories(tree, environment, policy, config.limits, run_seed=config.seed)
    if policy.goes_back:
        await go_back(tree, environment, policy, config.limits, run_seed=config.seed, wanted=config.max_selected_traj)
    clock.lap("exploring")
    record = await policy.write(config, environment, tree)
    if record is not None:  # a chat model writes its own questions
        clock.lap("writing")
        return replace(record, spans=clock.spans)
    ranked = candidates(tree, environment, min_depth=config.min_depth, how=config.selection)
    selected = select_trajectories(ranked, len(ranked), config.max_overlap)
    clock.lap("selecting")
    language = language_of(content, config.language)
    items: list[QAItem] = []
    rejected: list[Rejected] = []
    trajectories: list[Trajectory] = []
    for candidate in selected:  # the next one steps in for a rejected one
        if not candidate.chain_hops:
            continue
        trajectory = trajectory_record(tree, candidate)
        chain = Chain(start=start.record(), hops=candidate.chain_hops)
        question = write_question(environment, chain, language)
        answer = answer_text(chain.hops[-1].value)
        clock.lap("writing")
        checks = prove(
            environment, chain=chain, question=question, answer=answer, language=language, steps=steps_of(trajectory),
            needed=candidate.needed,
        )  # fmt: skip
        clock.lap("proving")
        passed = checks[-1].passed
        item = item_record(
            config, environment, run_id=run_id_of(config), trajectory=trajectory, chain=chain, question=question, answer=answer,
            language=language, checks=checks, status="verified" if passed else "rejected", policy=policy.name,
            cost=Cost(usd=0.0, tool_calls=len(candidate.nodes)), seed_match=start.match,
        )  # fmt: skip
        if passed:
            items.append(replace(item, signature=signature_of(question) if config.near_duplicate < 1 else None))
            trajectories.append(trajectory)
            if len(items) == config.max_selected_traj:
                break
        else:
            rejected.append(Rejected.of_item(item, checks[-1].name, checks[-1].detail))
    tree_record = tree.record()
    clock.lap("writing")
    return SeedOutcome(
        id=source_id, tree=tree_record, items=items, rejected=rejected, trajectories=trajectories, failure=None, spans=clock.spans
    )


def _tries_of(path: Path, launch: str) -> dict[str, int]:
    counted: dict[str, int] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            said, _, source_id = line.partition(" ")
            if said == launch:
                counted[source_id] = counted.get(source_id, 0) + 1
    return counted
