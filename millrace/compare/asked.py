"""What comparing needs to know of how a run was probed. Domains don't import each other: the flow hands it in.

`millrace.probing.stage.HowAsked` is the one that reads configs of `millrace.probing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class HowAsked(Protocol):
    """Reads the section `probing` of a run's `config.json`."""

    def differences(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """The settings in which two probings differ, as (dotted name, before, after), without those that change no result."""
        ...

    def claims(self, probing: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
        """Claim id → (name, sentence); empty when the claim set is no longer where it was."""
        ...

    def claim_set(self, probing: Mapping[str, Any]) -> str | None:
        """The claim set's SHA-256; None when it is no longer where it was."""
        ...
