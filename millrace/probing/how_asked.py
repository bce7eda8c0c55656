"""How a run was probed, read from its config, for the stage that compares two runs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from millrace.errors import UsageError
from millrace.probing.claims import ClaimSet
from millrace.probing.settings import ProbingConfig
from millrace.run.folder import differences


class HowAsked:
    """Reads the section `probing` of a run's `config.json`."""

    def differences(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """The settings in which two probings differ: (dotted name, before, after).

        Those that change no result are left out, where both can be read: a run of another version, or of a plug-in that is not
        installed here, is compared word by word.
        """
        try:
            return differences({"probing": dict(before)}, {"probing": ProbingConfig.model_validate(dict(after))})
        except (UsageError, ValueError):
            first, second = _flat(before, "probing"), _flat(after, "probing")
            pairs = [(name, first.get(name, "None"), second.get(name, "None")) for name in sorted(first.keys() | second.keys())]
            return [pair for pair in pairs if pair[1] != pair[2]]

    def claims(self, probing: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Claim id → (name, sentence); empty when the claim set is no longer where it was."""
        found = self._claim_set(probing)
        return {} if found is None else {claim.claim_id: (claim.name, claim.claim_template) for claim in found.claims}

    def claim_set(self, probing: Mapping[str, Any]) -> str | None:
        """The claim set's SHA-256; None when it is no longer where it was."""
        found = self._claim_set(probing)
        return None if found is None else found.sha256

    def _claim_set(self, probing: Mapping[str, Any]) -> ClaimSet | None:
        with contextlib.suppress(UsageError, ValueError):
            return ProbingConfig.model_validate(dict(probing)).claim_set()
        return None


def _flat(settings: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Dotted name → value, as a text that tells values apart."""
    found: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            found |= _flat(value, f"{prefix}.{name}")
        else:
            found[f"{prefix}.{name}"] = repr(value)
    return found
