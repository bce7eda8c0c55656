"""The hostile world with tools that may be called from several threads at once."""

from __future__ import annotations

from tests.synthesis.hostile_world import HostileWorld


class SideBySide(HostileWorld):
    """Its calls run at the same time."""

    concurrent = True


def open_environment() -> SideBySide:
    """The environment."""
    return SideBySide()
