"""Before and after the ranks: is the config workable, what will be done, did the infrastructure hold?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from millrace.errors import InputError, RunFailed, UsageError
from millrace.lake.annotations import annotation_kinds
from millrace.llm.trial import trials_in
from millrace.probing.asked_ahead import check_batches
from millrace.probing.baselines import baseline_settings
from millrace.probing.claims import ClaimSet
from millrace.probing.judges import judge_settings
from millrace.probing.settings import ProbingConfig
from millrace.records.summaries import ProbingSummary
from millrace.run.counted import counted

if TYPE_CHECKING:
    from millrace.lake.files import LakeCheck


def check(config: ProbingConfig) -> ClaimSet:
    """See that claims, baseline, judge, kind of annotation and lake are what the config says, before anything is started.

    Raises:
        UsageError, InputError: what is wrong, in one sentence.
    """
    claims = check_models(config)
    if config.lake.path is not None:
        _lake(config.lake.path)
    elif config.lake.recipe is not None:
        from millrace.lake.embedded import plan_lake

        plan_lake(images=config.lake.images, seed=config.lake.seed, rows_per_shard=1, recipe=config.lake.recipe)
    return claims


def check_models(config: ProbingConfig) -> ClaimSet:
    """The same without the lake: claims, baseline, judge and kind of annotation.

    Raises:
        UsageError, InputError: what is wrong, in one sentence.
    """
    claims = config.claim_set()
    baseline_settings(config.baseline)
    judge_settings(config.judge)
    check_batches(config)
    annotation_kinds(config.lake.annotation)
    return claims


def reach(config: ProbingConfig) -> list[str]:
    """See that every model that the config names answers one question as the run will ask it, and that there is a GPU where one
    is asked for; a line for each model.

    Raises:
        UsageError: it is not so; the message says what and what to do.
    """
    if config.torchrun.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            where = "run it on a GPU server, or set probing.torchrun.device=cpu"
            raise UsageError(f"torchrun.device is cuda, and torch sees no GPU here; {where}")
    judge = judge_settings(config.judge)
    parts = (judge,) if config.answers_of is not None else (baseline_settings(config.baseline), judge)
    trials = [trial for part in parts for trial in trials_in(part)]
    if not trials:
        return []
    from millrace.llm.preflight import reach_all  # brings httpx: only where there is an endpoint

    return reach_all(trials)


def plan_lines(config: ProbingConfig) -> list[str]:
    """What the stage will do, for `--dry-run`. Touches nothing."""
    claims = check(config)
    place = config.lake.path or counted(config.lake.images, "embedded digit scenes")
    baseline, judge = (part.get("name", "?") for part in (config.baseline, config.judge))
    target = config.target_failure_count
    until = f"until {counted(target, 'failures')}" if target else counted(config.sample_size, "images")
    ranks = config.torchrun.nnodes * config.torchrun.nproc_per_node
    return [
        f"images: {place}{_rows(config.lake.path)}",
        f"claims: {len(claims.claims)} of set '{claims.name}': {', '.join(claim.claim_id for claim in claims.claims)}",
        f"probing: {until}, baseline '{baseline}', judge '{judge}', in units of {counted(config.failure_batch_size, 'images')}",
        f"ranks: {ranks} ({counted(config.torchrun.nnodes, 'machines')}, {config.torchrun.nproc_per_node} each)",
    ]


def check_infrastructure(summary: ProbingSummary, max_failure_rate: float) -> None:
    """See that not too much of the run broke.

    Raises:
        RunFailed: more than `max_failure_rate` of the outcomes are `infra_error`, there are no outcomes at all, or none of them
            is an answer.
    """
    outcomes = summary.outcomes
    broken, asked = outcomes.get("infra_error", 0), sum(outcomes.values())
    cut, filtered = outcomes.get("cut_off", 0), outcomes.get("filtered", 0)
    if asked == 0:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in summary.dropped.items()) or "no images"
        raise RunFailed(f"nothing could be probed ({reasons}); see the dropped lines in probing/shard-00000.jsonl")
    if broken > max_failure_rate * asked:
        raise RunFailed(
            f"{broken} of {asked} claims ended in infra_error, more than max_failure_rate ({max_failure_rate:.0%}) allows; "
            "see `error` in probing/shard-*.jsonl; correct the cause and start again in another run folder, or raise "
            "max_failure_rate and run the same command again to go on with what was answered"
        )
    if asked == broken + cut + filtered:
        raise RunFailed(
            f"none of {asked} claims got an answer: {cut} replies broke off at their longest length, {filtered} were withheld by "
            "a content filter; see `error` in probing/shard-*.jsonl (chat.longest_answer gives a model that thinks more room)"
        )


def _rows(lake: Path | None) -> str:
    if lake is None:
        return ""
    found = _lake(lake)
    return f" ({counted(len(found.usable), 'files')}, {counted(found.rows, 'rows')})"


def _lake(folder: Path) -> LakeCheck:
    from millrace.lake.files import check_lake  # pyarrow: not for those who only ask for help

    found = check_lake(folder)
    if found.unusable:
        more = f" (and so for {len(found.unusable) - 1} more)" if len(found.unusable) > 1 else ""
        raise InputError(f"{found.unusable[0].detail}{more}; repair it or take it out of the lake")
    return found
