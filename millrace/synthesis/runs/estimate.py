"""What a run will cost, before it is started: calls, tokens, money and time, each with where the figure comes from."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from millrace.errors import UsageError
from millrace.llm.estimate import Planned
from millrace.synthesis.seeds import read_seeds
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment

if TYPE_CHECKING:
    from millrace.run.stage import PlannedCalls

SECONDS_PER_SEED = {"families": 1.0, "math": 0.06, "python": 0.5, "rag": 0.05, "sql": 0.3, "web": 0.05}
"""Measured on two shared cores with the shipped configs; only an order of magnitude elsewhere."""

TOKENS_IN, TOKENS_OUT = 1_500, 150
"""Tokens of one model call in and out: a path's history with two observations, and one call of a tool. An assumption."""

LOOKED_AT = 100_000


def plan_lines(config: SynthesisConfig) -> list[str]:
    """What `--dry-run` prints; reads the seeds, opens the environment, touches nothing."""
    open_environment(config).close()
    seeds, lines = _counted(config)
    more = " (only the first were looked at)" if lines == LOOKED_AT else ""
    nodes = config.limits.largest()
    found = [
        f"environment: {config.environment_mode}, policy: {config.policy}, workers: {config.max_workers}",
        f"seeds: {lines} in {config.seeds_path}, {seeds} different{more}",
        f"tool calls: at most {seeds * nodes:,} ({nodes} per seed), and {config.max_depth} for the replay of each question",
        f"questions: at most {seeds * config.max_selected_traj:,}",
    ]
    if config.policy == "programmatic":
        each = SECONDS_PER_SEED.get(config.environment_mode)
        found.append("model calls: none; cost: nothing")
        took = f"about {seeds * each / config.workers:,.0f} s of work (estimate)" if each else "unknown for this environment"
        found.append(f"time: {took}, plus the start of the flow")
    elif config.policy != "chat":
        found.append(f"model calls, cost and time: unknown for the policy '{config.policy}'")
    elif not planned_calls(config):
        calls = seeds * (nodes + config.max_selected_traj * (2 if config.chat.judge else 1))
        found.append(f"model calls: at most {calls:,}; cost: unknown, because no endpoint is named (chat.model)")
    return found


def planned_calls(config: SynthesisConfig) -> list[PlannedCalls]:
    """What the chat models are asked at most; nothing where a program plans."""
    if config.policy != "chat":
        return []
    from millrace.synthesis.policies.chat import judge_settings, model_settings

    try:
        model, judge = model_settings(config), judge_settings(config)
    except UsageError:
        return []  # no endpoint is named yet, as in a shipped config
    seeds, _ = _counted(config)
    asked = [
        (model, "explore", seeds * config.limits.largest()),
        (model, "write", seeds * config.max_selected_traj),
        *([] if judge is None else [(judge, "judge", seeds * config.max_selected_traj)]),
    ]
    return [
        (chat, Planned(stage=stage, calls=calls, input_tokens=TOKENS_IN, output_tokens=TOKENS_OUT))
        for chat, stage, calls in asked
    ]


def _counted(config: SynthesisConfig) -> tuple[int, int]:
    """Different seeds, and lines in the file; at most `LOOKED_AT` of them."""
    seeds = read_seeds(config.seeds_path, max_chars=config.max_seed_chars, limit=config.number_of_seed)
    names = [seed.source_id for seed in itertools.islice(seeds, LOOKED_AT)]
    return len(set(names)), len(names)
