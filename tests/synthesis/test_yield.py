"""The shipped configs on the shipped seeds: enough items, of enough kinds, and a proof that cannot be fooled."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from millrace.config import load_config
from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Chain, Trajectory
from millrace.run.journal import read_jsonl
from millrace.synthesis.environments import Environment
from millrace.synthesis.runs.synthesis_run import run_serially
from millrace.synthesis.runs.trace import prove_item
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.work_shard import worker_environment

Pair = tuple[dict[str, Any], dict[str, Any]]

MUTATIONS = 1_000


def shipped(name: str) -> Path:
    return Path(__file__).parents[2] / "configs" / "synthesis" / f"{name}.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["math", "python", "rag", "web", "custom"])
def test_the_shipped_seeds_give_at_least_400_different_proven_items_and_the_proof_rejects_what_is_corrupted(
    name: str, tmp_path: Path
) -> None:
    config = load_config(SynthesisConfig, shipped(name))
    statistics = run_serially(config, tmp_path)
    items = list(read_jsonl(tmp_path / "qa.jsonl"))
    trajectories = {record["trajectory_id"]: record for record in read_jsonl(tmp_path / "trajectories.jsonl")}

    # rag: only what no way of reading the corpus changes; that cost a third of what was 581
    assert len(items) == statistics.items.verified >= {"web": 1_000, "math": 500, "rag": 300}.get(name, 400)
    assert len({item["question"] for item in items}) == len(items)
    assert all(item["verification"]["status"] == "verified" for item in items)
    assert len({item["provenance"]["question_kind"] for item in items}) >= (10 if name != "custom" else 8)
    assert len({item["provenance"]["template"] for item in items}) >= 10
    hops = sorted(item["quality"]["hops"] for item in items)
    assert hops[len(hops) // 2] >= 2
    assert max(Counter(item["answer"] for item in items).values()) <= 0.02 * len(items)
    assert {item["language"] for item in items} == {"en", "zh"}

    pairs = [(item, trajectories[item["trajectory_id"]]) for item in items]
    environment = worker_environment(config)
    rng = random.Random(1)
    for item, trajectory in rng.sample(pairs, 20):
        assert proven(environment, item, trajectory, replay=True)
    corrupted = corruptions(pairs, environment, rng)
    assert len(corrupted) == MUTATIONS
    accepted = [kind for kind, item, trajectory in corrupted if proven(environment, item, trajectory)]
    assert len(accepted) <= 0.01 * MUTATIONS, Counter(accepted)


def proven(environment: Environment, item: dict[str, Any], trajectory: dict[str, Any], *, replay: bool = False) -> bool:
    checks = prove_item(environment, msgspec.convert(item, QAItem), msgspec.convert(trajectory, Trajectory), replay=replay)
    return all(check.passed for check in checks)


def corruptions(
    pairs: list[Pair], environment: Environment, rng: random.Random
) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """As many corrupted copies as wanted, of each kind in turn; each changes what the answer would be."""
    kinds = [another_answer, answer_of_another_item, answer_and_its_value, observed_value, hop_removed]
    found: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    whole = [orjson.dumps(pair) for pair in pairs]  # read anew, a pair is copied in a tenth of deepcopy's time
    while len(found) < MUTATIONS:
        item, trajectory = orjson.loads(rng.choice(whole))
        corrupt = kinds[len(found) % len(kinds)]
        if corrupt(item, trajectory, pairs, environment, rng):
            found.append((corrupt.__name__, item, trajectory))
    return found


def changed(value: Any, rng: random.Random) -> Any:
    if isinstance(value, int):
        return value + rng.choice((-10, -1, 1, 2, 10, 100))
    if isinstance(value, list):
        return [*value[1:], value[0]] if len(set(map(str, value))) > 1 else [*value, value[0]]
    place = rng.randrange(len(value))
    return value[:place] + ("7" if value[place] != "7" else "3") + value[place + 1 :]


def another_answer(
    item: dict[str, Any], trajectory: dict[str, Any], pairs: list[Pair], environment: Environment, rng: random.Random
) -> bool:
    before = item["answer"]
    item["answer"] = str(changed(int(before) if item["answer_type"] == "integer" else before, rng))
    return bool(item["answer"] != before)


def answer_of_another_item(
    item: dict[str, Any], trajectory: dict[str, Any], pairs: list[Pair], environment: Environment, rng: random.Random
) -> bool:
    before = item["answer"]
    item["answer"] = rng.choice(pairs)[0]["answer"]
    return bool(item["answer"] != before)


def answer_and_its_value(
    item: dict[str, Any], trajectory: dict[str, Any], pairs: list[Pair], environment: Environment, rng: random.Random
) -> bool:
    """The answer, the value in the chain and the observation agree with one another, and all three are wrong."""
    hop = item["verifier"]["args"]["chain"]["hops"][-1]
    wrong = changed(hop["value"], rng)
    node = trajectory["nodes"][-1]
    node["observation"] = node["observation"].replace(str(hop["value"]), str(wrong))
    hop["value"], item["answer"] = wrong, str(wrong) if not isinstance(wrong, list) else ", ".join(map(str, wrong))
    return True


def observed_value(
    item: dict[str, Any], trajectory: dict[str, Any], pairs: list[Pair], environment: Environment, rng: random.Random
) -> bool:
    """An observation says another value than the tool said."""
    place = rng.randrange(len(trajectory["nodes"]))
    node, hop = trajectory["nodes"][place], item["verifier"]["args"]["chain"]["hops"][place]
    operator = environment.operators[hop["op"]]
    if not operator.evidence:
        return False
    chain = item["verifier"]["args"]["chain"]
    values = [chain["start"]["value"], *(before["value"] for before in chain["hops"][:place])]
    spoilt = list(node["observation"])
    for _ in range(20):
        where = rng.randrange(len(spoilt))
        spoilt[where] = "9" if spoilt[where] != "9" else "4"
    node["observation"] = "".join(spoilt)
    try:
        return bool(operator.read(hop["args"], values, node["observation"]) != hop["value"])
    except (ValueError, KeyError, IndexError):
        return True


def hop_removed(
    item: dict[str, Any], trajectory: dict[str, Any], pairs: list[Pair], environment: Environment, rng: random.Random
) -> bool:
    """A step is cut out of chain and trajectory; the question is written anew, so that only the answer can tell."""
    from millrace.synthesis.writing import write_question

    chain = item["verifier"]["args"]["chain"]
    place = rng.randrange(len(chain["hops"]))
    if len(chain["hops"]) < 2 or any("other" in hop["args"] for hop in chain["hops"]):
        return False
    del chain["hops"][place]
    del trajectory["nodes"][place]
    item["question"] = write_question(environment, msgspec.convert(chain, Chain), item["language"])
    return True
