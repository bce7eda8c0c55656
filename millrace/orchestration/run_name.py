"""What a flow run is called in Prefect: after its folder, unless a person has given it a name."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any


def run_name() -> str:
    """What Prefect calls when a flow run starts, with the run as its context: `FLOW in RUN_DIR`, or the name that was typed."""
    from prefect.context import FlowRunContext

    context: Any = FlowRunContext.get()
    run = context.flow_run
    by_hand = run.deployment_id is None
    if by_hand or run.auto_scheduled or is_made_up(run.name):
        return f"{context.flow.name} in {context.parameters['run_dir']}"
    return str(run.name)


def is_made_up(name: str) -> bool:
    """Whether it is a name that Prefect's server gives to a run that has none, such as `quick-otter`."""
    words = name.split("-")
    return len(words) == 2 and set(words) <= _words()


@cache
def _words() -> frozenset[str]:
    """The words that Prefect's server makes names of (coolname's adjectives and animals)."""
    try:
        from coolname import data
    except ImportError:
        return frozenset()

    config: Mapping[str, Any] = data.config
    kinds = {"adjective", "adjective_first", "adjective_near", "noun_adjective", "prefix", "size"}
    kinds |= {"animal", "animal_breed", "animal_legendary"}
    return frozenset(word for kind in kinds & config.keys() for word in config[kind].get("words", ()))
