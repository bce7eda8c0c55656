"""What an atlas shows: samples, each with a picture and its place in some dimensions (claim, outcome, factor, model …)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from millrace.records.lake import ImageRef


class Sample(NamedTuple):
    """One thing asked about a picture, and what came of it."""

    image: ImageRef
    values: Mapping[str, str | tuple[str, ...]]
    """By dimension: its value, or several (factors)."""
    text: str
    """What was asked."""
    facts: tuple[tuple[str, str], ...]
    """What else is shown when it is opened: a label and a text each."""


@dataclass(frozen=True)
class Dimension:
    """Something that samples are filtered by."""

    name: str
    """As it stands in links."""
    title: str
    titles: Mapping[str, str] = field(default_factory=dict)
    """Value → how it is called; one that is not here is called what it is."""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Further choices that stand for several values: `failures` for all outcomes that are some."""
    colours: bool = False
    """Whether its value gives a sample its colour: an outcome does."""


class Packed(NamedTuple):
    """Samples as a page reads them: values by number, pictures by their place in the sheets."""

    images: list[ImageRef]
    """The pictures, in the order in which they lie in the sheets."""
    content: dict[str, object]
    """JSON for the page."""
    left_out: int
    """Samples whose pictures are more than there is room for."""


def pack(samples: Iterable[Sample], dimensions: Sequence[Dimension], *, most_images: int) -> Packed:
    """Number what repeats. Pictures are taken in the order in which they come first, at most so many of them."""
    values: dict[str, dict[str, int]] = {dimension.name: {} for dimension in dimensions}
    images: dict[tuple[str, str, int], int] = {}
    refs: list[ImageRef] = []
    rows: list[list[object]] = []
    left_out = 0

    def number(dimension: str, value: str) -> int:
        return values[dimension].setdefault(value, len(values[dimension]))

    for sample in samples:
        key = (sample.image.image_id, sample.image.file, sample.image.row)
        if key not in images:
            if len(images) >= most_images:
                left_out += 1
                continue
            images[key] = len(images)
            refs.append(sample.image)
        places: list[object] = []
        for dimension in dimensions:
            value = sample.values.get(dimension.name, ())
            many = [value] if isinstance(value, str) else list(value)
            places.append([number(dimension.name, one) for one in many])
        rows.append([images[key], places, sample.text, [list(fact) for fact in sample.facts]])
    content: dict[str, object] = {
        "dimensions": [_described(dimension, values[dimension.name]) for dimension in dimensions],
        "ids": [ref.image_id for ref in refs],
        "rows": rows,
    }
    return Packed(refs, content, left_out)


def _described(dimension: Dimension, numbers: Mapping[str, int]) -> dict[str, object]:
    groups = {name: [numbers[value] for value in members if value in numbers] for name, members in dimension.groups.items()}
    return {
        "name": dimension.name,
        "title": dimension.title,
        "values": list(numbers),
        "titles": [dimension.titles.get(value, value.replace("_", " ")) for value in numbers],
        "groups": {name: members for name, members in groups.items() if members},
        "colours": dimension.colours,
    }
