"""How far several judges agree: counted over every claim on which two or more of them voted.

A vote is read twice: as the outcome it stands for, for `unanimous`, and as "the model failed" or not, for kappa, because failure
rates rest on nothing else. Kappa is Fleiss' (Psychological Bulletin 76, 1971), with the number of votes differing by item.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec import UNSET

from millrace.records.outcome import FAILURES
from millrace.records.summaries import JudgesAgreement, JudgeVotes


class Agreement(msgspec.Struct):
    """What is counted, claim by claim; memory doesn't grow with their number."""

    n: int = 0
    unanimous: int = 0
    tied: int = 0
    """No outcome had more votes than any other: `judge_uncertain`."""
    votes: Counter[str] = msgspec.field(default_factory=Counter)
    """By judge."""
    with_majority: Counter[str] = msgspec.field(default_factory=Counter)
    """By judge: votes for the outcome that had the most; not counted where none had."""
    decided: Counter[str] = msgspec.field(default_factory=Counter)
    """By judge: votes on claims that were not tied."""
    failed: int = 0
    """Votes that say that the model failed."""
    alike: float = 0.0
    """Sum over claims of the share of pairs of votes that say the same about that."""
    missing: dict[str, Counter[str]] = msgspec.field(default_factory=dict)
    """By judge: why it gave no vote, and how often."""

    def add(self, votes: Mapping[str, str]) -> None:
        """Count one claim: judge → outcome. A single vote is not counted: there is none to agree with."""
        if len(votes) < 2:
            return
        self.n += 1
        (first, most), *others = Counter(votes.values()).most_common()
        self.unanimous += not others
        tied = bool(others) and others[0][1] == most
        self.tied += tied
        for judge, outcome in votes.items():
            self.votes[judge] += 1
            self.decided[judge] += not tied
            self.with_majority[judge] += not tied and outcome == first
        cast = len(votes)
        failed = sum(outcome in FAILURES for outcome in votes.values())
        self.failed += failed
        self.alike += (failed * (failed - 1) + (cast - failed) * (cast - failed - 1)) / (cast * (cast - 1))

    def add_missing(self, reasons: Mapping[str, str]) -> None:
        """Count the votes that one claim lacks: judge → why."""
        for judge, reason in reasons.items():
            self.missing.setdefault(judge, Counter())[reason] += 1

    def summary(self) -> JudgesAgreement | None:
        """For `summary.json`; None when no claim had two votes and no vote was missing."""
        if not self.n and not self.missing:
            return None
        missing = {judge: dict(sorted(reasons.items())) for judge, reasons in sorted(self.missing.items())}
        return JudgesAgreement(
            n=self.n,
            unanimous=self.unanimous,
            tied=self.tied,
            kappa=self._kappa(),
            with_majority={
                judge: JudgeVotes(votes=self.votes[judge], decided=self.decided[judge], agreed=self.with_majority[judge])
                for judge in sorted(self.votes)
            },
            missing=missing or UNSET,
        )

    def _kappa(self) -> float | None:
        """1 is perfect, 0 what chance alone would give; None where all votes say the same and chance would, too."""
        if not self.n:
            return None
        share = self.failed / self.votes.total()
        by_chance = share**2 + (1 - share) ** 2
        return None if by_chance == 1 else round((self.alike / self.n - by_chance) / (1 - by_chance), 4)
