"""Asking everything beforehand where a model is asked in batches: subjects, then claims, then verdicts, each as few batches.

What is answered stands in the journal of paid answers; the ranks that come after it find it there and wait for nothing. Each of
the three needs the answers of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.errors import ItemFailed, UsageError
from millrace.lake.images import decode_image
from millrace.lake.rows import BadRow, LakeRow
from millrace.llm.settings import chats_in, runs_here
from millrace.probing.annotated import Subject, claim_rules
from millrace.probing.baselines import ClaimPrompt, Completion, Question, baseline_settings
from millrace.probing.claims import Claim
from millrace.probing.judges import judge_settings
from millrace.probing.prompts import write_prompt
from millrace.probing.settings import ProbingConfig
from millrace.records.batches import BatchCounts

if TYPE_CHECKING:
    from PIL import Image

    from millrace.probing.ranks.probe_unit import Probe


def asks_in_batches(config: ProbingConfig) -> bool:
    """Whether the baseline or a judge has `mode: batch`."""
    parts = (baseline_settings(config.baseline), judge_settings(config.judge))
    return any(chat.mode == "batch" for part in parts for chat in chats_in(part))


def check_batches(config: ProbingConfig) -> None:
    """See that what is asked in batches is known beforehand.

    Raises:
        UsageError: it is not.
    """
    if config.answers_of is not None or not asks_in_batches(config):
        return
    if config.target_failure_count is not None or config.max_empty_batches is not None:
        raise UsageError(
            "mode: batch asks about all images at once, so nothing can stop at a target: set target_failure_count: null and "
            "max_empty_batches: null, and say in sample_size how many images to probe"
        )
    baseline = baseline_settings(config.baseline)
    if not chats_in(baseline) or runs_here(baseline):
        raise UsageError(
            "a judge with mode: batch is asked when all answers are there, and this baseline answers in the ranks: probe with a "
            "judge that has mode: live, or `millrace rejudge RUN` a finished run with this judge"
        )


def ask_ahead(config: ProbingConfig, lake: Path, stage: Path, show: Callable[[BatchCounts], None]) -> None:
    """Have the answers of all that probing will ask; nothing where nobody is asked in batches.

    Args:
        config: of probing.
        lake: the folder of images.
        stage: the stage's folder.
        show: called about once a second with what the batches have come to.

    Raises:
        RunFailed: a provider does not answer, or refuses a batch. ShortOfTarget: a spending limit is reached.
    """
    if not asks_in_batches(config):
        return
    from millrace.llm.batches.folder import counts_below, forgive_below
    from millrace.llm.run_chats import chats_of_run
    from millrace.probing.ranks.worker import open_probe

    with chats_of_run(stage) as chats:
        forgive_below(chats)
        probe = open_probe(config, lake, "cpu")
        rows = partial(_rows, probe, config)

        def watch() -> None:
            show(counts_below(chats))

        in_batches = [chat.mode == "batch" for chat in chats_in(judge_settings(config.judge))]
        if in_batches and in_batches[0]:
            probe.judge.choose_ahead(
                ((claim, row) for row in rows() if claim_rules(row) is None for claim in probe.claims.claims), watch
            )
        probe.baseline.ask_ahead(((image, prompts) for _, image, prompts, _ in _asked(probe, rows())), watch)
        if any(in_batches):
            probe.judge.judge_ahead(lambda: _answered(probe, rows()), watch)
        watch()


def _rows(probe: Probe, config: ProbingConfig) -> Iterator[LakeRow]:
    """All rows that will be probed, in the order of the units."""
    from millrace.lake.parquet import stream_rows
    from millrace.probing.ranks.units import plan_of

    plan, index = plan_of(config, probe.lake), 0
    while (unit := plan[index]) is not None:
        for row in stream_rows(unit.file, range(unit.start, unit.stop), lake=probe.lake, annotation=probe.annotation):
            if not isinstance(row, BadRow):
                yield row
        index += 1


def _asked(
    probe: Probe, rows: Iterator[LakeRow]
) -> Iterator[tuple[LakeRow, Image.Image, list[ClaimPrompt | Question], list[tuple[Claim, Subject]]]]:
    """Each image with the prompts about it."""
    from millrace.probing.ranks.probe_unit import subject_of

    for row in rows:
        try:
            image = decode_image(row.image_bytes)
        except ItemFailed:
            continue
        subjects = [(claim, subject_of(probe, claim, row)[0]) for claim in probe.claims.claims]
        asked = [(claim, subject) for claim, subject in subjects if subject is not None]
        if asked:
            yield row, image, [write_prompt(claim, subject) for claim, subject in asked], asked


def _answered(probe: Probe, rows: Iterator[LakeRow]) -> Iterator[tuple[Claim, Subject, Completion, LakeRow]]:
    """What the judge will be asked about: the answers are in the journal."""
    for row, image, prompts, asked in _asked(probe, rows):
        completions = probe.baseline.complete(image, [prompt for prompt in prompts if isinstance(prompt, ClaimPrompt)])
        for (claim, subject), completion in zip(asked, completions, strict=True):
            if not isinstance(completion, Exception):
                yield claim, subject, completion, row
