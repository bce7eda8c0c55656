"""From a question back to its seed: shows the tree, the evidence and the answer, and proves the answer again."""

from __future__ import annotations

from pathlib import Path

from millrace.config import parse_config
from millrace.errors import InputError, UsageError
from millrace.records.record import RecordT, decode
from millrace.records.synthesis import Check, QAItem
from millrace.records.trajectories import Trajectory, Tree
from millrace.run.journal import read_json
from millrace.synthesis.environments import Environment
from millrace.synthesis.lines import steps_of
from millrace.synthesis.runs.assemble import STATUS_FILES
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.synthesis.verification import prove

SHOWN_CHARS = 160


def trace(run_dir: Path, qa_id: str) -> tuple[list[str], bool]:
    """(lines to print, whether the item was proven again).

    Raises:
        UsageError: no run there, or no such item in it.
    """
    item = _find([run_dir / name for name in STATUS_FILES.values()] + [run_dir / "rejected.jsonl"], QAItem, "qa_id", qa_id)
    if item is None:
        raise UsageError(f"{run_dir} holds no item {qa_id}; its ids stand in qa.jsonl")
    trajectory = _find([run_dir / "trajectories.jsonl"], Trajectory, "trajectory_id", item.trajectory_id)
    tree = _find([run_dir / "trees.jsonl"], Tree, "source_id", item.source_id)
    lines = [
        f"question: {item.question}",
        f"answer:   {item.answer}  ({item.answer_type}, {item.verification.status})",
        f"seed:     {item.metadata.seed_data}  ({item.source_id}, {item.provenance.seed_match})",
    ]
    if trajectory is None:
        return [*lines, "its trajectory is not in this run: it was rejected before it was selected"], False
    path = {node.node_id for node in trajectory.nodes}
    lines += ["", "tree (* on the path):", *_tree_lines(tree, path), "", "evidence:"]
    for step in item.reasoning_steps:
        lines.append(f"  {step.step}. {step.action} {step.parameters}")
        lines.append(f"     says {_short(step.observation)}")
        lines.append(f"     so   {step.value!r}")
    config = parse_config(SynthesisConfig, read_json(run_dir / "config.json")["synthesis"], where=str(run_dir / "config.json"))
    environment = open_environment(config)
    try:
        lines += _version_notes(item, environment)
        checks = prove_item(environment, item, trajectory)
    finally:
        environment.close()
    lines += ["", "proof, done again now:"]
    lines += [f"  {'passed' if check.passed else 'FAILED'}  {check.name}: {check.detail}" for check in checks]
    return lines, bool(checks) and all(check.passed for check in checks)


def prove_item(environment: Environment, item: QAItem, trajectory: Trajectory, *, replay: bool = True) -> list[Check]:
    """Every check on a stored item and its stored trajectory (see `verifiers.prove`)."""
    chain = item.verifier.args.chain
    if not chain:
        return [Check("has_chain", False, "a model wrote the question: there is no chain to compute again")]
    if [node.hop and node.hop.op for node in trajectory.nodes] != [hop.op for hop in chain.hops]:
        return [Check("schema", False, "the trajectory's hops are not those of the question")]
    return prove(
        environment,
        chain=chain,
        question=item.question,
        answer=item.answer,
        language=item.language,
        steps=steps_of(trajectory),
        replay=replay,
    )


def _find(paths: list[Path], kind: type[RecordT], key: str, wanted: str) -> RecordT | None:
    """The record whose `key` is `wanted`; only lines that hold it are read as records."""
    found_any = False
    for path in paths:
        if path.exists():
            found_any = True
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if wanted.encode() in line:
                        record = decode(line, kind, f"{path}, line {number}")
                        if getattr(record, key) == wanted:
                            return record
    if not found_any:
        raise InputError(f"{paths[0].parent} holds no finished synthesis run ({paths[0].name} is not there)")
    return None


def _tree_lines(tree: Tree | None, path: set[str]) -> list[str]:
    if tree is None:
        return ["  (not found)"]
    nodes = {node.node_id: node for node in tree.nodes}
    lines: list[str] = []

    def show(name: str) -> None:
        node = nodes[name]
        mark = "*" if name in path or node.depth == 0 else " "
        action = node.action.tool_name if node.action else "seed"
        said = f" ({node.hop.op})" if node.hop else ""
        value = f" = {node.hop.value!r}" if node.hop and node.hop.value is not None else ""
        trouble = f"  [{node.status}: {node.note or _short(node.observation)}]" if node.status == "error" or node.note else ""
        lines.append(f"  {mark} {'  ' * node.depth}{action}{said}{_short(value)}{trouble}")
        for child in node.children_ids:
            show(child)

    show(next(iter(nodes)))
    return lines


def _version_notes(item: QAItem, environment: Environment) -> list[str]:
    then, now = item.provenance.versions, dict(environment.versions)
    return [
        f"note: made with {name} {then.get(name)}, proven now with {now.get(name)}"
        for name in sorted(now)
        if then.get(name) != now[name]
    ]


def _short(text: str) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= SHOWN_CHARS else line[:SHOWN_CHARS] + "…"
