"""The table of question pipelines, read from pipelines.yaml."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import msgspec

from millrace.config import parse_yaml
from millrace.lake.annotations import ANY, added_pipelines


class Pipeline(msgspec.Struct, frozen=True):
    """One kind of question."""

    intent: str
    """The original's name for what is asked."""
    description: str
    answer_type: str
    slots: dict[str, str]
    """Slot of the claim → aspect that the embedded writer computes; empty: not computable from an annotation."""

    @property
    def aspects(self) -> tuple[str, ...]:
        """What can be asked here, in the order of the slots."""
        return tuple(self.slots.values())


@lru_cache(maxsize=8)
def load_pipelines(annotation: str = ANY) -> dict[str, Pipeline]:
    """All of them, by key: the shipped ones, and those that kinds of annotation add, the one that a lake is said to have among
    them.
    """
    text = (files("millrace.qa.writing") / "pipelines.yaml").read_text(encoding="utf-8")
    return msgspec.convert({**added_pipelines(annotation), **parse_yaml(text)}, dict[str, Pipeline])
