"""Environments: tools that refuse what they cannot take, operators that call them, a verifier that comes to the same values."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from msgspec.structs import asdict

from millrace.errors import ItemFailed
from millrace.synthesis.environments import Environment, Unprovable, argument_errors
from millrace.synthesis.policies import Node, signature
from millrace.synthesis.policies.programmatic import ProgrammaticPolicy
from millrace.synthesis.sampling import NOT_PROVABLE, Limits, Tree, sample_trajectories
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment
from millrace.testing.kinds import kept
from millrace.testing.material import SEEDS

FOLDER = "millrace.synthesis.environments"
WORD = "environment"
DISAGREE = "the verifier"
"""In the note on a hop for which tool and verifier have two values; one that is ambiguous or out of reach says something else."""
LIMITS = Limits(max_depth=4, depth_threshold=2)
ONE_HOP = Limits(max_depth=1, min_depth=1, depth_threshold=1)
"""Of a world in which nothing follows on an answer."""


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Environment]:
    """The environment with `settings` as its `environment_kwargs`, its tools in a process of their own."""
    environment = open_environment(SynthesisConfig(environment_mode=name, environment_kwargs=dict(settings)))
    try:
        yield environment
    finally:
        environment.close()


def limits_of(environment: Environment) -> Limits:
    """The shape of the trees that are tried: as deep as its operators lead."""
    takes = {operator.takes for operator in environment.operators.values()}
    return LIMITS if any(operator.gives in takes for operator in environment.operators.values()) else ONE_HOP


def grown(environment: Environment, seed: str = SEEDS[0], limits: Limits | None = None, run_seed: int = 0) -> Tree:
    """A tree of what a program tries from a seed."""
    limits = limits or limits_of(environment)
    tree = Tree(seed, "src_test", environment.start(seed, random.Random(seed)))
    work = sample_trajectories(tree, environment, ProgrammaticPolicy(), limits, run_seed=run_seed)
    return asyncio.run(work)


_grown: WeakKeyDictionary[Any, list[Tree]] = WeakKeyDictionary()


def trees(environment: Environment) -> list[Tree]:
    """A tree from each of some seeds of which the environment can make something.

    Raises:
        AssertionError: it can make nothing of any.
    """
    if environment in _grown:
        return _grown[environment]
    found, reasons = [], []
    for seed in SEEDS:
        try:
            found.append(grown(environment, seed))
        except ItemFailed as failure:
            reasons.append(str(failure))
    kept(found, f"nothing grows from any of {len(SEEDS)} seeds: {'; '.join(reasons[:1])}")
    _grown[environment] = found
    return found


def its_tools_are_described_and_refuse_arguments_they_do_not_know(environment: Environment) -> None:
    """A wrong call is an error observation with a sentence, never an exception: a model reads it and tries again."""
    kept(environment.tools, "it has no tools")
    for name, tool in environment.tools.items():
        kept(tool.description, f"the tool '{name}' has no description; a chat model would not know what it is for")
        wrong = {"no such argument": 1}
        refuses = argument_errors(tool.parameters, wrong) or tool.run(wrong).status == "error"
        kept(refuses, f"the tool '{name}' takes any argument; name the required ones, or set additionalProperties: false")
        said = tool.run("nonsense").status  # type: ignore[arg-type]
        kept(said == "error", f"the tool '{name}' takes a text for its arguments; its parameters need type: object")


def its_versions_say_what_the_values_depend_on(environment: Environment) -> None:
    """They go into every record, so that an answer can be recomputed against the same data."""
    kept(environment.versions, "`versions` is empty; name the data and the tools with their versions or hashes")
    for name, version in environment.versions.items():
        kept(isinstance(version, str) and version, f"versions['{name}'] must be a text, not {version!r}")


def its_operators_have_words_in_a_language_that_it_has_frames_for(environment: Environment) -> None:
    """An operator that is a hop of a question is said in it; one that only finds the place (`evidence=False`) need not be."""
    kept(environment.frames, "`frames` is empty; there are no words around a question")
    for language, frames in environment.frames.items():
        for part in ("start", "hop", "ask"):
            kept(part in frames, f"frames['{language}'] has no '{part}'")
        for name, operator in environment.operators.items():
            words = {"en": operator.en, "zh": operator.zh}.get(language, "")
            kept(words or not operator.evidence, f"the operator '{name}' is not said in '{language}', for which there are frames")


def something_starts_and_some_operator_goes_on_from_there(environment: Environment) -> None:
    """Of a handful of very different seeds at least one must lead somewhere."""
    takes = {operator.takes for operator in environment.operators.values()}
    started = []
    for seed in SEEDS:
        with contextlib.suppress(ItemFailed):
            started.append(environment.start(seed, random.Random(0)))
    kept(started, f"none of {len(SEEDS)} seeds starts anything; a start may be drawn where the seed says nothing usable")
    for start in started:
        kept(start.kind in takes, f"it starts from a '{start.kind}', which no operator takes; known: {', '.join(sorted(takes))}")


def a_tree_has_the_shape_that_was_asked_for_and_no_action_twice(environment: Environment) -> None:
    """The limits of depth and branching hold whatever the operators draw."""
    limits = limits_of(environment)
    for tree in trees(environment):
        nodes = list(tree.nodes.values())
        actions = [signature(node.action) for node in nodes if node.action]
        kept(len(actions) == len(set(actions)), f"the same action stands twice in the tree of '{tree.seed}'")
        for node in nodes:
            usable = [child for child in node.children_ids if tree.nodes[child].usable]
            most = limits.branching_factor if node.depth < limits.depth_threshold else 1
            kept(len(usable) <= most, f"a node at depth {node.depth} has {len(usable)} children")
            kept(node.depth <= limits.max_depth, f"a node lies at depth {node.depth}")
        kept(len(nodes) > 1, f"nothing could be tried from '{tree.seed}': does `draw` of every operator give None?")


def the_same_seed_grows_the_same_tree_and_another_run_seed_another(environment: Environment) -> None:
    """Randomness comes only from the `rng` that is handed in, and tools answer the same each time."""
    seed = trees(environment)[0].seed
    kept(
        grown(environment, seed).record() == grown(environment, seed).record(),
        f"'{seed}' grew two different trees: draw from `rng` alone, and let tools depend on their arguments alone",
    )
    other = any(grown(environment, seed, run_seed=number).record() != grown(environment, seed).record() for number in (1, 2, 3))
    kept(other, f"'{seed}' grows the same tree with every seed of the run: use `rng` where there is a choice")


def some_path_is_long_enough_for_a_question(environment: Environment) -> None:
    """Two actions (one, where nothing can follow), each with a value that could be read out of its observation."""
    least = limits_of(environment).min_depth
    found = [path for tree in trees(environment) for path in _paths(environment, tree)]
    notes = [node.note or node.observation.text for tree in trees(environment) for node in tree.nodes.values() if not node.usable]
    kept(
        found,
        f"no path has {least} actions whose values could be read; the first thing that went wrong: {(notes or ['nothing'])[0]}",
    )


def its_verifier_comes_to_the_same_values(environment: Environment) -> None:
    """By other means than the tools, for some hop of each operator that was tried; `Unprovable` for what it cannot prove."""
    proven: set[str] = set()
    doubts: dict[str, str] = {}
    for node in (node for tree in trees(environment) for node in tree.nodes.values() if node.op is not None):
        assert node.op is not None
        if node.usable:
            proven.add(node.op)
        elif node.note.startswith(NOT_PROVABLE):
            doubts.setdefault(node.op, node.note.removeprefix(NOT_PROVABLE).strip(": "))
    for op in sorted(doubts.keys() - proven):
        kept(DISAGREE not in doubts[op], f"no hop of the operator '{op}' could be proven: {doubts[op]}")
    kept(proven, f"the verifier proves no hop at all: {next(iter(doubts.values()), 'no operator was tried')}")


def its_verifier_has_other_values_that_an_answer_could_have_had(environment: Environment) -> None:
    """Without them it could not be checked that each hop changes the answer, and the questions would be dropped."""
    assert environment.verifier is not None
    found = 0
    for op, args, values, value in _hops(environment):
        with contextlib.suppress(Unprovable):
            others = environment.verifier.alternatives(op, args, [*values, value])
            kept(isinstance(others, Sequence), f"alternatives of '{op}' must be a list, not a {type(others).__name__}")
            found += any(other != value for other in others)
    kept(found, "`alternatives` gives nothing for any hop; give two or more values that the hop could have had")


def its_verifier_makes_the_start_again(environment: Environment) -> None:
    """`origin` gives the value that the chain sets out from."""
    assert environment.verifier is not None
    for tree in trees(environment):
        again = environment.verifier.origin(asdict(tree.start.record()))
        kept(again == tree.start.value, f"'{tree.seed}' starts from {tree.start.value!r}, the verifier says {again!r}")


def it_closes_twice(environment: Environment) -> None:
    """It may be closed again while a run cleans up."""
    environment.close()
    environment.close()


def _paths(environment: Environment, tree: Tree) -> list[list[Node]]:
    return [tree.path(leaf)[1:] for leaf in tree.leaves(limits_of(environment).min_depth)]


def _hops(environment: Environment) -> Iterator[tuple[str, Mapping[str, Any], list[Any], Any]]:
    for tree in trees(environment):
        for path in _paths(environment, tree):
            values = [tree.start.value]
            for node in path:
                if node.op is not None:
                    yield node.op, node.args or {}, list(values), node.value
                values.append(node.value)


PROMISES = (
    its_tools_are_described_and_refuse_arguments_they_do_not_know,
    its_versions_say_what_the_values_depend_on,
    its_operators_have_words_in_a_language_that_it_has_frames_for,
    something_starts_and_some_operator_goes_on_from_there,
    a_tree_has_the_shape_that_was_asked_for_and_no_action_twice,
    the_same_seed_grows_the_same_tree_and_another_run_seed_another,
    some_path_is_long_enough_for_a_question,
    its_verifier_comes_to_the_same_values,
    its_verifier_has_other_values_that_an_answer_could_have_had,
    its_verifier_makes_the_start_again,
    it_closes_twice,
)
