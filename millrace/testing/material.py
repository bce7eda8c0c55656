"""What promises are tried on: photographs with labelled boxes, claims about them, failures, questions, a proven question.

The photographs are those that ship with the configs. Nothing here asks a model: the failures are a guesser's.
"""

from __future__ import annotations

import copy
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from millrace.config import configs_folder
from millrace.filtering.routing import load_routes
from millrace.filtering.selection_shards import selection_record
from millrace.lake.annotations import ANY
from millrace.lake.images import decode_image
from millrace.lake.parquet import stream_rows
from millrace.lake.rows import BadRow, LakeRow
from millrace.probing.annotated import Subject, Truth, claim_rules
from millrace.probing.baselines import baseline_settings, open_baseline
from millrace.probing.claims import Claim, load_claims
from millrace.probing.judges import judge_settings, open_judge
from millrace.probing.ranks.probe_unit import Probe, probe_row
from millrace.qa.checking.check_shards import check_shard
from millrace.qa.settings import QaSettings
from millrace.qa.writing.case import Case, read_cases
from millrace.qa.writing.option_balance import Plan
from millrace.qa.writing.write_shards import plan_questions, survey_shard, write_shard
from millrace.records.outcome import OutcomeRecord
from millrace.records.question import Item
from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Seed, Trajectory, Tree
from millrace.run.journal import read_records, write_jsonl

SEEDS = (
    "prime numbers up to 40",
    "a sentence about sailing ships and maps",
    "Finland",
    "exceptions raised by a failing import",
    "anything at all, 12 of March 1999",
    "一句关于大海的话",
)
"""Texts that a seed may be: of several topics, in two scripts."""


class Asked(NamedTuple):
    """A claim about a subject on one picture, with what is right."""

    row: LakeRow
    claim: Claim
    subject: Subject
    truth: Truth


def lake() -> Path:
    """The folder of the photographs."""
    return configs_folder() / "full" / "photographs"


def rows(folder: Path | None = None, annotation: str = ANY) -> list[LakeRow]:
    """The pictures of a lake, read for annotations of a kind; None: the photographs."""
    found: list[LakeRow] = []
    for file in sorted((folder or lake()).glob("*.parquet")):
        found += [row for row in stream_rows(file, annotation=annotation) if not isinstance(row, BadRow)]
    return found


@lru_cache(maxsize=4)
def asked(folder: Path | None = None, claims: str = "objects", annotation: str = ANY) -> tuple[Asked, ...]:
    """Every claim of the set on every picture whose annotation offers it a subject."""
    found: list[Asked] = []
    for row in rows(folder, annotation):
        rules = claim_rules(row)
        for claim in load_claims(claims).claims if rules is not None else ():
            assert rules is not None
            subject = rules.choose_subject(claim, row, seed=1, image_id=row.ref.image_id, unanswerable_share=0.3)
            truth = None if subject is None else rules.truth_of(claim.claim_id, row, subject.selectors)
            if subject is not None and truth is not None:
                found.append(Asked(row, claim, subject, truth))
    return tuple(found)


class Questions(NamedTuple):
    """Failures on the photographs, and the questions that templates make of them."""

    cases: list[Case]
    plan: Plan
    items: list[Item]
    """Checked: what an export gets."""


QA = QaSettings(blind_check="report", items_per_failure=2)
"""Seven pictures are too few to balance options."""


@lru_cache(maxsize=1)
def questions() -> Questions:
    """Failures of a baseline that guesses, surveyed, written, checked."""
    claims, routes = load_claims("objects"), load_routes("default")
    probe = Probe(claims, open_baseline(baseline_settings({"name": "guess"})), open_judge(judge_settings({})), lake(), 1, 0.2)
    outcomes = [record for row in rows() for record in probe_row(probe, row)]
    failures = [record for record in outcomes if isinstance(record, OutcomeRecord) and record.failure_id]
    with tempfile.TemporaryDirectory() as folder:
        selected, written, checked = (Path(folder) / f"{name}.jsonl" for name in ("selected", "written", "checked"))
        write_jsonl(selected, [selection_record(one, sample_index=place, routes=routes) for place, one in enumerate(failures)])
        plan = plan_questions([survey_shard(selected, lake(), QA)], QA)
        write_shard(selected, written, lake(), QA, plan)
        check_shard(written, None, checked, Path(folder) / "rejected.jsonl", lake(), QA)
        cases = [case for case in read_cases(selected, lake()) if isinstance(case, Case)]
        return Questions(cases, plan, list(read_records(checked, Item)))


def image_of(item: Item) -> bytes:
    """The bytes of the picture that a question is about."""
    return next(row.image_bytes for row in rows() if row.ref.image_id == item.image.image_id)


def decoded(row: LakeRow) -> Any:
    """The picture of a row, as a baseline gets it."""
    return decode_image(row.image_bytes)


def proven() -> tuple[QAItem, Trajectory, Tree]:
    """A proven question of the environment `math`, the path that it was made from and its seed's tree: a copy of one's own."""
    return copy.deepcopy(_proven())


@lru_cache(maxsize=1)
def _proven() -> tuple[QAItem, Trajectory, Tree]:
    import asyncio

    from millrace.synthesis.settings import SynthesisConfig
    from millrace.synthesis.toolset import open_environment
    from millrace.synthesis.work_shard import policy_of, synthesise_seed

    config = SynthesisConfig(environment_mode="math", max_depth=4, depth_threshold=2)
    environment = open_environment(config)
    try:
        seed = Seed(source_id="src_1", content=SEEDS[0])
        record = asyncio.run(synthesise_seed(config, environment, policy_of(config), seed))
    finally:
        environment.close()
    item = next(one for one in record.items)
    path = next(one for one in record.trajectories if one.trajectory_id == item.trajectory_id)
    assert record.tree is not None
    return item, path, record.tree
