"""Energy sources: counters that only go up, unknown as None, and a reason on a host without them.

Settings: those under `energy` of a training config (`powercap`, `country` …).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from millrace.config import parse_config
from millrace.plugins.contracts import completed
from millrace.plugins.loading import load_plugin
from millrace.testing.kinds import kept
from millrace.training.energy import Domain, Source, Unavailable
from millrace.training.settings import EnergySettings

FOLDER = "millrace.training.energy"
WORD = "energy source"


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Source | Unavailable]:
    """The source, or why there is none on this host."""
    told = parse_config(EnergySettings, dict(settings), where="--plugin-settings")
    try:
        source: Source = completed(load_plugin(FOLDER, name, WORD).open_source(told), Source, f"the energy source '{name}'")
    except Unavailable as reason:
        yield reason
        return
    try:
        yield source
    finally:
        source.close()


def a_host_without_it_is_told_why(subject: Source | Unavailable) -> None:
    """In a sentence, with how to get it."""
    kept(not isinstance(subject, Unavailable) or str(subject), "Unavailable without a reason")


def its_domains_say_what_they_count(subject: Source | Unavailable) -> None:
    """By name, scope and method; none twice."""
    if isinstance(subject, Unavailable):
        return
    kept(subject.domains, "it has no domains: raise Unavailable where there is nothing to read")
    kept(all(isinstance(domain, Domain) for domain in subject.domains), "a domain is a millrace.training.energy.Domain")
    names = [domain.name for domain in subject.domains]
    kept(len(set(names)) == len(names), f"a domain stands twice: {names}")
    kept(subject.poll_every_s > 0, f"poll_every_s is {subject.poll_every_s}")


def its_counters_only_go_up(subject: Source | Unavailable) -> None:
    """Joules since it was opened for every domain; None, and never 0, for what is unknown."""
    if isinstance(subject, Unavailable):
        return
    names = {domain.name for domain in subject.domains}
    before = subject.read()
    for _ in range(3):
        now = subject.read()
        kept(set(now) == names, f"read gives {sorted(now)}, its domains are {sorted(names)}")
        for name, joules in now.items():
            earlier = before[name]
            kept(joules is None or earlier is None or joules >= earlier, f"{name} went from {earlier} to {joules} J")
        before = now
    kept(isinstance(subject.wraps(), dict), "wraps gives a mapping: how often each counter has wrapped around")


PROMISES = (a_host_without_it_is_told_why, its_domains_say_what_they_count, its_counters_only_go_up)
