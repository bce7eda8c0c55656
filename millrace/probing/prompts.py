"""A claim and its subject, put as a prompt."""

from __future__ import annotations

from millrace.probing.annotated import Subject
from millrace.probing.baselines import ClaimPrompt
from millrace.probing.claims import Claim, fill


def write_prompt(claim: Claim, subject: Subject) -> ClaimPrompt:
    """What a baseline is given: the claim with its subject filled in, the open slots and the instructions."""
    return ClaimPrompt(
        claim_id=claim.claim_id,
        text=fill(claim.claim_template, subject.values),
        slots={name: list(claim.slots[name].values) for name in claim.answer_slots},
        instructions=claim.baseline_instructions,
        not_related_conditions=claim.not_related_conditions,
        expected_outputs=claim.expected_outputs,
        subject=dict(subject.values),
    )
