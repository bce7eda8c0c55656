"""What a run will cost, before it is started: calls, tokens, money and time, each with where the figure comes from."""

from __future__ import annotations

import itertools

from millrace.synthesis.seeds import read_seeds
from millrace.synthesis.settings import SynthesisConfig
from millrace.synthesis.toolset import open_environment

SECONDS_PER_SEED = {"math": 0.06, "python": 0.5, "rag": 0.05, "web": 0.05}
"""Measured on two shared cores with the shipped configs; only an order of magnitude elsewhere."""

TOKENS_IN, TOKENS_OUT = 1_500, 150
"""Tokens of one model call in and out: a path's history with two observations, and one call of a tool. An assumption."""

LOOKED_AT = 100_000


def plan_lines(config: SynthesisConfig) -> list[str]:
    """What `--dry-run` prints; reads the seeds, opens the environment, touches nothing."""
    open_environment(config).close()
    seen: set[str] = set()
    lines = 0
    for seed in itertools.islice(
        read_seeds(config.seeds_path, max_chars=config.max_seed_chars, limit=config.number_of_seed), LOOKED_AT
    ):
        lines += 1
        seen.add(seed.source_id)
    seeds = len(seen)
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
        took = f"about {seeds * each / config.max_workers:,.0f} s of work (estimate)" if each else "unknown for this environment"
        found.append(f"time: {took}, plus the start of the flow")
    else:
        calls = seeds * (nodes + config.max_selected_traj * (2 if config.chat.judge else 1))
        found.append(
            f"model calls: at most {calls:,}; tokens: about {calls * TOKENS_IN:,} in, {calls * TOKENS_OUT:,} out "
            f"(assuming {TOKENS_IN} and {TOKENS_OUT} per call); cost and time: unknown before the first calls"
        )
    return found
