"""Another judge on a finished run: the model's answers are kept, only the judge is asked, both verdicts are compared.

What was asked (claims, subjects, pictures) and what the model said come from the earlier run's outcomes, so every outcome keeps
its id and the two runs can be told apart by nothing but the judge. The earlier run is only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import UNSET, structs

from millrace.config import fingerprint_of, parse_config
from millrace.errors import ItemFailed, UsageError
from millrace.lake.images import decode_image
from millrace.lake.reader import read_row
from millrace.lake.rows import LakeRow
from millrace.llm.run_chats import chats_of_run
from millrace.llm.settings import chats_in
from millrace.probing.agreement import Agreement
from millrace.probing.annotated import Subject
from millrace.probing.baselines import Completion
from millrace.probing.claims import Claim
from millrace.probing.judges import Judge, judge_settings, open_judge
from millrace.probing.outcomes import broken, decide, failure_id_of, judgement_of
from millrace.probing.ranks.settlement import Tally, count_outcome, summary_of
from millrace.probing.settings import ProbingConfig
from millrace.records.lake import ImageRef
from millrace.records.outcome import PROBED_CLAIM, BaselineAnswer, OutcomeRecord, ProbedClaim
from millrace.records.summaries import JudgedAgain, ProbingSummary
from millrace.run.journal import read_json, read_record, read_records, write_jsonl
from millrace.threads import in_order

SAME = ("claims", "enabled_claims", "failure_reasons", "unanswerable_share", "baseline", "seed")
"""Settings that decide what was asked and answered: they are the earlier run's."""


def earlier_summary(run_dir: Path) -> ProbingSummary:
    """The summary of a finished probing.

    Raises:
        UsageError: there is none in the folder.
    """
    kept = run_dir / "probing" / "summary.json"
    if not kept.exists():
        raise UsageError(f"{run_dir} has no finished probing whose answers could be judged anew")
    return read_record(kept, ProbingSummary)


def check_earlier(config: ProbingConfig, run_dir: Path) -> None:
    """See that the config asks what the earlier run asked, and only judges otherwise.

    Raises:
        UsageError: it does not; the message names the settings.
    """
    earlier_summary(run_dir)
    section = read_json(run_dir / "config.json").get("probing", {})
    before = fingerprint_of(parse_config(ProbingConfig, section, where=str(run_dir / "config.json")))
    now = fingerprint_of(config)
    other = [name for name in SAME if before[name] != now[name]]
    if other:
        raise UsageError(
            f"probing.{other[0]} is not that of {run_dir}, whose answers are to be judged; `millrace rejudge {run_dir}` takes "
            "over everything but the judge"
        )


def rejudge_shard(earlier: Path, out: Path, lake: Path, probing: Mapping[str, Any]) -> int:
    """Write a shard of the earlier run's outcomes with the new judge's verdicts; returns its lines. One that is there is kept.

    A judge behind an endpoint has its paid replies in the run's journal: a shard that is started again asks only for the rest.

    Args:
        earlier: the earlier run's shard.
        out: the shard to write.
        lake: the folder of images.
        probing: the config's section.
    """
    if not out.exists():
        config = parse_config(ProbingConfig, probing, where="probing")
        claims = {claim.claim_id: claim for claim in config.claim_set().claims}
        with chats_of_run(out):
            judge = open_judge(judge_settings(config.judge))
            if any(chat.mode == "batch" for chat in chats_in(judge_settings(config.judge))):
                judge.judge_ahead(partial(_to_judge, earlier, claims, lake), lambda: None)
            again = partial(judged_again, claims=claims, judge=judge, lake=lake)
            write_jsonl(out, in_order(again, read_records(earlier, PROBED_CLAIM), width=judge.concurrency, name="judge"))
    return sum(1 for _ in read_records(out, PROBED_CLAIM))


def judged_again(record: ProbedClaim, claims: Mapping[str, Claim], judge: Judge, lake: Path) -> ProbedClaim:
    """The record with the new verdict. What was not asked, and what the model gave no answer to, stays as it is."""
    if not isinstance(record, OutcomeRecord) or record.baseline is None:
        return record
    claim = claims[record.claim_id]
    place = record.image
    try:
        row = read_row(lake, ImageRef(place.image_id, place.file, place.row, place.sha256 or ""))
        decode_image(row.image_bytes)
    except ItemFailed as failure:
        decision = broken("lake", failure)
    else:
        subject = Subject(record.prefilled, record.selectors, record.answerable)
        decision = decide(judge, claim, subject, _completion(record.baseline), row)
    return structs.replace(
        record,
        outcome=decision.outcome,
        failure_id=failure_id_of(decision.outcome, claim),
        judge=judgement_of(decision.verdict),
        error=decision.error,
    )


def _to_judge(earlier: Path, claims: Mapping[str, Claim], lake: Path) -> Iterator[tuple[Claim, Subject, Completion, LakeRow]]:
    """What `judged_again` will have judged of a shard."""
    for record in read_records(earlier, PROBED_CLAIM):
        if not isinstance(record, OutcomeRecord) or record.baseline is None:
            continue
        place = record.image
        try:
            row = read_row(lake, ImageRef(place.image_id, place.file, place.row, place.sha256 or ""))
            decode_image(row.image_bytes)
        except ItemFailed:
            continue
        subject = Subject(record.prefilled, record.selectors, record.answerable)
        yield claims[record.claim_id], subject, _completion(record.baseline), row


def _completion(answer: BaselineAnswer) -> Completion:
    return Completion(
        related=answer.related is not False,
        values=answer.said,
        text=answer.text or "",
        explanation=answer.explanation or "",
        raw=answer.raw or None,
        confidence=None if answer.confidence is UNSET else answer.confidence,
    )


def _who(record: OutcomeRecord) -> str:
    """The judge of an outcome, without the count of its votes."""
    by = record.judge.by if record.judge is not None else None
    return (by or "unknown").partition(" (")[0]


def settle_rejudged(earlier: Path, stage: Path, before: ProbingSummary) -> ProbingSummary:
    """The summary over all shards, with what became of the earlier verdicts.

    Args:
        earlier: the earlier run's folder.
        stage: the stage's folder, with all shards.
        before: the earlier run's summary.
    """
    tally = Tally(images=before.images)
    agreement = Agreement()
    became: dict[str, Counter[str]] = {}
    judges: Counter[str] = Counter()
    for shard in sorted(stage.glob("shard-*.jsonl")):
        old = read_records(earlier / "probing" / shard.name, PROBED_CLAIM)
        for was, now in zip(old, read_records(shard, PROBED_CLAIM), strict=True):
            count_outcome(now, tally)
            if isinstance(was, OutcomeRecord) and isinstance(now, OutcomeRecord) and was.baseline is not None:
                agreement.add({"before": was.outcome.value, "now": now.outcome.value})
                became.setdefault(was.outcome.value, Counter())[now.outcome.value] += 1
                judges[_who(was)] += 1
    counted = agreement.summary()
    again = JudgedAgain(
        run=str(earlier.absolute()),
        before=judges.most_common(1)[0][0] if judges else "unknown",
        n=agreement.n,
        same=agreement.unanimous,
        kappa=counted.kappa if counted is not None else None,
        became={name: dict(sorted(counts.items())) for name, counts in sorted(became.items())},
    )
    return structs.replace(summary_of(tally, stop=before.stop, shards=before.shards), judged_again=again)
