"""Claims: sentences about an image with slots, read from a typed, versioned, hashed claim set.

A claim set is a YAML file; those in `claim_sets/` are known by their file name, any other by its path. The original project's
JSON files load too (`millrace/compat/claim_files.py`). What is wrong with a file is said in one sentence before anything starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from pydantic import Field, model_validator

from millrace.compat.claim_files import PLACEHOLDER, from_original, is_original
from millrace.config import Settings, parse_config, parse_yaml, read_mapping
from millrace.errors import UsageError, did_you_mean
from millrace.plugins.loading import plugin_files
from millrace.run.ids import canonical

PACKAGE = "millrace.probing.claim_sets"
CLAIM_SETS = Path(__file__).parent / "claim_sets"
"""The shipped claim sets: one file is one choice."""

SLOT_TYPES = (
    "object_instance",
    "object_category",
    "abstract_concept",
    "categorical_value",
    "percentage_value",
    "integer_value",
    "spatial_descriptor",
    "natural_language_text",
    "instance_level_visual_feature",
    "relative_spatial_relation",
)
"""What a slot may hold."""


class Tolerance(Settings):
    """How far a number may be from the right one."""

    relative: float = Field(default=0.0, ge=0)
    """Share of the right number."""
    absolute: float = Field(default=0.0, ge=0)
    """In the slot's own unit (percentage points). The larger of the two counts."""

    def bounds(self, right: float) -> tuple[float, float]:
        """The lowest and highest number that counts as `right`."""
        reach = max(self.absolute, self.relative * right)
        return max(0.0, right - reach), right + reach


class Slot(Settings):
    """One gap of a claim."""

    type: str
    """One of `SLOT_TYPES`."""
    values: tuple[str, ...] = ()
    """The allowed values; none given means free text of the type."""
    selection_criteria: str = ""
    """What to choose, in words for the one who fills the slot."""
    description: str = ""
    """What the slot means."""
    tolerance: Tolerance | None = None
    """For numbers: what still counts as right. None means exactly."""

    @model_validator(mode="after")
    def _is_sound(self) -> Slot:
        if self.type not in SLOT_TYPES:
            raise ValueError(f"no slot type named '{self.type}'{did_you_mean(self.type, SLOT_TYPES)}")
        folded = [value.casefold() for value in self.values]
        if len(set(folded)) < len(folded):
            raise ValueError("a value is listed twice")
        return self


class FailureReason(Settings):
    """What it is called when a model gets a claim wrong."""

    failure_id: str
    failure_category: str
    failure_name: str
    description: str = ""
    suggested_filtering_factors: tuple[str, ...] = ()
    """Properties of an image that make the failure worth probing there; those with `[optional]` are not required."""


class Claim(Settings):
    """One sentence to be completed about an image, and the failure it shows when that goes wrong."""

    claim_id: str = Field(min_length=1)
    name: str
    capability: str
    target_failure_id: str
    """The failure a wrong completion stands for."""
    claim_template: str
    """The sentence, with a placeholder per slot."""
    slots: Mapping[str, Slot] = Field(min_length=1)
    prefill_slots: tuple[str, ...] = ()
    """Slots filled from the image before the model sees the claim: its subject."""
    baseline_instructions: tuple[str, ...] = ()
    not_related_conditions: tuple[str, ...] = ()
    """When the right answer is that the claim does not apply."""
    expected_outputs: tuple[str, ...] = ()
    enabled: bool = True
    """Whether the claim is used when nothing else is asked for."""
    paraphrases: Mapping[str, tuple[str, ...]] = {}
    """By the slot asked for: other ways of saying or asking it."""

    @property
    def answer_slots(self) -> tuple[str, ...]:
        """The slots that the model has to fill, in the order of the file."""
        return tuple(name for name in self.slots if name not in self.prefill_slots)

    @model_validator(mode="after")
    def _is_sound(self) -> Claim:
        for name in self.prefill_slots:
            if name not in self.slots:
                raise ValueError(f"prefill slot '{name}' is not among the slots{did_you_mean(name, self.slots)}")
        if not self.answer_slots:
            raise ValueError("every slot is prefilled: nothing is left to ask")
        for sentence in (self.claim_template, *(text for texts in self.paraphrases.values() for text in texts)):
            for name in placeholders(sentence):
                if name not in self.slots:
                    raise ValueError(f"the slot [{name}] in '{sentence}' is not defined{did_you_mean(name, self.slots)}")
        for name in self.answer_slots:
            if name not in placeholders(self.claim_template):
                raise ValueError(f"the slot '{name}' does not occur in the claim_template")
        for name in self.paraphrases:
            if name not in self.answer_slots:
                raise ValueError(f"paraphrases are for a slot to be filled, not '{name}'{did_you_mean(name, self.answer_slots)}")
        return self


class ClaimFile(Settings):
    """What a claim set's file holds."""

    version: str
    claims: tuple[Claim, ...] = Field(min_length=1)
    description: str = ""
    failure_reasons: tuple[FailureReason, ...] = ()
    """The failures its claims may point at; none given means those of the shipped default set."""

    @model_validator(mode="after")
    def _is_sound(self) -> ClaimFile:
        for kind, names in (
            ("claim_id", [claim.claim_id for claim in self.claims]),
            ("failure_id", [reason.failure_id for reason in self.failure_reasons]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} '{twice[0]}' is there twice")
        return self


@dataclass(frozen=True)
class ClaimSet:
    """The claims of a run."""

    name: str
    version: str
    sha256: str
    """SHA-256 over the whole content in one spelling: comments and layout don't change it, any word does."""
    claims: tuple[Claim, ...]
    """Those that are used, in the order of the file."""
    disabled: tuple[Claim, ...]
    failure_reasons: Mapping[str, FailureReason]
    """By failure_id."""

    def claim(self, claim_id: str) -> Claim:
        """The used claim of that id. Raises `UsageError` when there is none."""
        for claim in self.claims:
            if claim.claim_id == claim_id:
                return claim
        raise UsageError(f"no claim '{claim_id}' in use{did_you_mean(claim_id, [claim.claim_id for claim in self.claims])}")


def reworded(claims: ClaimSet, wordings: Mapping[str, str]) -> ClaimSet:
    """The set with other sentences for some of its claims: another set, whose claims mean the same.

    Args:
        claims: the set.
        wordings: claim id → its sentence, with the same slots.

    Raises:
        UsageError: there is no such claim in use, or a sentence lacks a slot or has another.
    """
    changed = {}
    for claim_id, sentence in wordings.items():
        claim = claims.claim(claim_id)
        wanted = placeholders(claim.claim_template)
        if set(wanted) != set(placeholders(sentence)):
            slots = ", ".join(wanted)
            raise UsageError(f"the wording '{sentence}' of the claim '{claim_id}' must have exactly the slots {slots}")
        changed[claim_id] = claim.model_copy(update={"claim_template": sentence})
    if not changed:
        return claims
    used = tuple(changed.get(claim.claim_id, claim) for claim in claims.claims)
    return replace(claims, claims=used, sha256=sha256(canonical([claims.sha256, dict(sorted(wordings.items()))])).hexdigest())


def load_claims(
    name_or_path: str | Path = "default", enabled: Sequence[str] = (), *, failure_reasons: Path | None = None
) -> ClaimSet:
    """Read and check a claim set.

    Args:
        name_or_path: a shipped set's name, or the path of a YAML or JSON file.
        enabled: ids (or names) of the claims to use; none means those the file enables.
        failure_reasons: a file of the original's failure-reason format to use in place of the set's own.

    Raises:
        UsageError: no such set, or what is wrong in it: the place, the key and what would be right.
    """
    path = _find(str(name_or_path))
    data = read_mapping(path)
    parsed = parse_config(ClaimFile, from_original(data, where=str(path)) if is_original(data) else data, where=str(path))
    reasons = _reasons_of(failure_reasons) if failure_reasons else parsed.failure_reasons or _shipped_reasons()
    known = {reason.failure_id: reason for reason in reasons}
    for claim in parsed.claims:
        if claim.target_failure_id not in known:
            hint = did_you_mean(claim.target_failure_id, known)
            raise UsageError(
                f"in {path}: claim '{claim.claim_id}' points at the unknown failure '{claim.target_failure_id}'{hint}"
            )
    used = _enabled(parsed.claims, enabled, path)
    content = [parsed.model_dump(mode="json"), [reason.model_dump(mode="json") for reason in reasons]]
    return ClaimSet(
        name=path.stem,
        version=parsed.version,
        sha256=sha256(canonical(content)).hexdigest(),
        claims=tuple(claim for claim in parsed.claims if claim.claim_id in used),
        disabled=tuple(claim for claim in parsed.claims if claim.claim_id not in used),
        failure_reasons=known,
    )


def placeholders(sentence: str) -> list[str]:
    """The names of the slots in `sentence`, in order."""
    return [match.group(1) or match.group(2) for match in PLACEHOLDER.finditer(sentence)]


def fill(sentence: str, values: Mapping[str, str]) -> str:
    """`sentence` with the slots of `values` filled in; a subject at its beginning gets a capital letter."""
    filled = PLACEHOLDER.sub(lambda match: values.get(match.group(1) or match.group(2), match.group(0)), sentence)
    return filled[:1].upper() + filled[1:]


def _find(name_or_path: str) -> Path:
    named = plugin_files(PACKAGE, "yaml")
    if name_or_path in named:
        return named[name_or_path]
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml", ".json"}:
        return path
    hint = did_you_mean(name_or_path, named)
    raise UsageError(f"no claim set named '{name_or_path}'{hint}, or the path of a .yaml or .json file")


def _shipped_reasons() -> tuple[FailureReason, ...]:
    data = parse_yaml((CLAIM_SETS / "default.yaml").read_text(encoding="utf-8"))
    return tuple(FailureReason.model_validate(reason) for reason in data["failure_reasons"])


class _ReasonFile(Settings):
    failure_reason_schema_version: str = ""
    description: str = ""
    failure_reasons: tuple[FailureReason, ...] = Field(min_length=1)


def _reasons_of(path: Path) -> tuple[FailureReason, ...]:
    return parse_config(_ReasonFile, read_mapping(path), where=str(path)).failure_reasons


def _enabled(claims: Sequence[Claim], wanted: Sequence[str], path: Path) -> set[str]:
    if not wanted:
        used = {claim.claim_id for claim in claims if claim.enabled}
        if not used:
            raise UsageError(f"in {path}: every claim is switched off; name the ones to use")
        return used
    by_word = {word: claim.claim_id for claim in claims for word in (claim.name, claim.claim_id)}
    for word in wanted:
        if word not in by_word:
            raise UsageError(f"no claim '{word}' in {path}{did_you_mean(word, [claim.claim_id for claim in claims])}")
    return {by_word[word] for word in wanted}
