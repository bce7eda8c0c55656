"""Neighbours on the atlas: nobody goes round the globe, and nobody stands level."""

from __future__ import annotations

import re

import pytest

from millrace.synthesis.environments import Unprovable
from millrace.synthesis.environments.web.atlas import address, arc_seconds, build_pages, load_tables
from millrace.synthesis.environments.web.verifier import WebVerifier


@pytest.mark.parametrize(("side", "op", "sign"), [("east", "eastern_neighbour", 1), ("west", "western_neighbour", -1)])
def test_the_next_zone_to_a_side_lies_on_that_side_or_there_is_none(side: str, op: str, sign: int) -> None:
    _, zones = load_tables()
    pages, verifier = build_pages(), WebVerifier()
    where = {zone.name: arc_seconds(zone.longitude) for zone in zones}
    proven = 0
    for zone in zones:
        named = re.search(rf"to the {side}: <a [^>]*>([^<]+)</a>", pages[address("zone", zone.name)])
        if named:
            assert sign * where[named[1]] >= sign * where[zone.name]
        try:
            value = verifier.apply(op, {}, [zone.name])
        except Unprovable:
            continue
        proven += 1
        assert named is not None
        assert value == named[1]
        assert sign * where[value] > sign * where[zone.name]
    assert proven > 200
