"""What probing will ask of chat models at most, for `--dry-run`: from the config and the lake's size, before anything is asked.

Covers: first answers. Does not cover: a model that is asked once more because its reply was of the wrong form, and requests sent
again after a fault of the line.
"""

from __future__ import annotations

from typing import NamedTuple

from millrace.lake.annotations import has_annotations
from millrace.lake.files import check_lake
from millrace.llm.estimate import Planned, about_a_picture
from millrace.llm.settings import ModelSettings, chats_in
from millrace.probing.baselines import baseline_settings
from millrace.probing.judges import judge_settings, judges_annotated
from millrace.probing.settings import ProbingConfig

Calls = list[tuple[ModelSettings, Planned]]


class Images(NamedTuple):
    """How many images are looked at at most."""

    annotated: int
    """With a column for annotations: one may settle what is asked about them."""
    bare: int


def images_of(config: ProbingConfig) -> Images:
    """The images of the lake, or as many of them as the config takes."""
    if config.lake.path is None:
        there = Images(config.lake.images, 0)
    else:
        files = check_lake(config.lake.path).usable
        annotated = sum(file.rows for file in files if has_annotations(file.columns, config.lake.annotation))
        there = Images(annotated, sum(file.rows for file in files) - annotated)
    if config.target_failure_count is not None:
        return there
    return Images(min(there.annotated, config.sample_size), min(there.bare, config.sample_size))


def expected_calls(config: ProbingConfig) -> Calls:
    """The calls of baseline and judges; empty when neither is a chat model."""
    claims = config.claim_set().claims
    images = images_of(config)
    baseline, judge = baseline_settings(config.baseline), judge_settings(config.judge)
    calls = [(chat, about_a_picture("baseline", sum(images) * len(claims))) for chat in chats_in(baseline)]
    panel = chats_in(judge)
    if not panel:
        return calls
    chosen = images.bare * sum(bool(claim.prefill_slots) for claim in claims)
    if chosen:  # what a claim is asked about: by the first judge, where no annotation tells
        calls.append((panel[0], about_a_picture("subject", chosen)))
    judged = sum(images) if judges_annotated(judge) else images.bare
    if judged:
        calls += [(chat, about_a_picture("judge", judged * len(claims))) for chat in panel]
    return calls


def expected_verdicts(config: ProbingConfig, outcomes: int) -> Calls:
    """The calls of a judge that decides anew on so many outcomes."""
    return [(chat, about_a_picture("judge", outcomes)) for chat in chats_in(judge_settings(config.judge))]


def expected_questions(config: ProbingConfig, questions: int) -> Calls:
    """The calls of a baseline that is put to so many finished questions."""
    return [(chat, about_a_picture("difficulty", questions)) for chat in chats_in(baseline_settings(config.baseline))]


def most_failures(config: ProbingConfig) -> int:
    """How many failures there can be."""
    most = sum(images_of(config)) * len(config.claim_set().claims)
    return most if config.target_failure_count is None else min(most, config.target_failure_count)
