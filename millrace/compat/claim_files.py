"""Claim files of the original project, read as ours.

They are JSON with `claim_schemas` (or `global_templates`, or `templates`, in this order of precedence) and lists of enabled ids
and names. Keys that never had an effect there are dropped with a warning; ids that don't exist are an error here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, TypedDict

from millrace.errors import UsageError, did_you_mean

LISTS = ("claim_schemas", "global_templates", "templates")
"""Where the claims are, in order of precedence."""

DEAD_FILE_KEYS = ("metadata", "domain", "slot_type_definitions", "global_guidelines")
DEAD_CLAIM_KEYS = ("common_failure_modes", "content_type", "metadata", "placeholders")
"""Known in those files and without effect."""

TEXT_LISTS = ("prefill_slots", "baseline_instructions", "expected_outputs", "not_related_conditions")
"""Lists of a claim that may be written as a single string."""

KNOWN_FILE_KEYS = (*LISTS, *DEAD_FILE_KEYS, "version", "description", "enabled_claim_ids", "enabled_claim_names")

PLACEHOLDER = re.compile(r"\[([A-Z][A-Z0-9_]*)\]|\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A slot in a sentence: `[UPPER]`, or `{name}` as some of those files write it."""

_LOG = logging.getLogger(__name__)


class Slot(TypedDict, total=False):
    """A slot of a claim in our layout; what else a file says of it is passed on, and refused when the claims are read."""

    type: str
    values: list[str]


class ClaimEntry(TypedDict, total=False):
    """A claim in our layout, unchecked."""

    claim_id: str
    name: str
    capability: str
    claim_template: str
    target_failure_id: str
    prefill_slots: list[str]
    baseline_instructions: list[str]
    expected_outputs: list[str]
    not_related_conditions: list[str]
    slots: dict[str, Slot]
    enabled: bool


class ClaimFile(TypedDict):
    """A file of claims in our layout."""

    version: str
    description: str
    claims: list[ClaimEntry]


def is_original(data: Mapping[str, Any]) -> bool:
    """Whether the file has the original's layout."""
    return any(key in data for key in LISTS)


def from_original(data: Mapping[str, Any], *, where: str) -> ClaimFile:
    """The same claims in our layout, unchecked.

    Raises:
        UsageError: an unknown key at the top, or an enabled claim that is not there.
    """
    for key in data:
        if key not in KNOWN_FILE_KEYS:
            raise UsageError(f"in {where}: unknown key '{key}'{did_you_mean(key, KNOWN_FILE_KEYS)}")
    ignored = [key for key in DEAD_FILE_KEYS if key in data]
    raw: Any = next((data[key] for key in LISTS if data.get(key)), [])
    if not isinstance(raw, list) or not all(isinstance(entry, dict) for entry in raw):
        raise UsageError(f"in {where}: the claims must be a list of mappings")
    claims = [_claim(entry, ignored) for entry in raw]
    wanted = set(data.get("enabled_claim_ids") or ()) | set(data.get("enabled_claim_names") or ())
    known = {word for claim in claims for word in (claim.get("claim_id"), claim.get("name")) if word}
    for word in sorted(wanted - known):
        raise UsageError(f"in {where}: no claim '{word}' to enable{did_you_mean(word, known)}")
    for claim in claims:
        claim["enabled"] = not wanted or bool({claim.get("claim_id"), claim.get("name")} & wanted)
    if ignored:
        _LOG.warning("%s: no effect and left out: %s", where, ", ".join(sorted(set(ignored))))
    return {"version": str(data.get("version", "0")), "description": str(data.get("description", "")), "claims": claims}


def _claim(entry: Mapping[str, Any], ignored: list[str]) -> ClaimEntry:
    claim: Any = {key: value for key, value in entry.items() if key not in DEAD_CLAIM_KEYS}
    ignored.extend(key for key in DEAD_CLAIM_KEYS if key in entry)
    extra = entry.get("metadata")
    if isinstance(extra, dict):  # a template as written back by a run keeps these one level deeper
        for key in (
            "name",
            "capability",
            "target_failure_id",
            "baseline_instructions",
            "expected_outputs",
            "not_related_conditions",
        ):
            if key in extra:
                claim.setdefault(key, extra[key])
    for key in TEXT_LISTS:
        given = claim.get(key) or []
        claim[key] = [given] if isinstance(given, str) else given
    slots = {name: _slot(slot) for name, slot in dict(claim.get("slots") or {}).items()}
    for match in PLACEHOLDER.finditer(str(claim.get("claim_template", ""))):
        slots.setdefault(match.group(1) or match.group(2), {"type": "natural_language_text"})
    claim["slots"] = slots
    claim.setdefault("name", claim.get("claim_id", ""))
    claim.setdefault("capability", "")
    made: ClaimEntry = claim
    return made


def _slot(slot: Any) -> Any:
    """Values may be numbers there; here they are words."""
    if not isinstance(slot, dict):
        return slot
    return {**slot, "values": [str(value) for value in slot.get("values") or ()]}
