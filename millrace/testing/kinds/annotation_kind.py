"""Annotation kinds: what is its own it reads, what is not it leaves alone; its claims have answers that can be read back.

Settings: `lake`, a folder of parquet files with annotations of the kind, and `claims`, a claim set about them. Without a lake
only what can be told without pictures is checked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from millrace.errors import ItemFailed
from millrace.lake.annotations import Annotation, AnnotationKind, annotation_kinds
from millrace.lake.rows import LakeRow
from millrace.plugins.loading import import_plugin, load_plugin
from millrace.probing.annotated import claim_rules
from millrace.qa.annotated import question_rules
from millrace.testing.kinds import kept
from millrace.testing.material import Asked, asked, rows

FOLDER = "millrace.lake.annotations"
WORD = "annotation kind"

FOREIGN: tuple[Any, ...] = ("", "a sentence", "[]", "{}", "[1, 2, 3, 4]", b"\x00\xff", 7, 0.5, [], {}, [1.0, 2.0], None)
"""What a column of the same name may hold in other data."""


class Opened(NamedTuple):
    """A kind, with what it is tried on."""

    kind: AnnotationKind
    rows: list[LakeRow]
    asked: tuple[Asked, ...]


@contextlib.contextmanager
def opened(name: str, settings: Mapping[str, Any]) -> Iterator[Opened]:
    """The kind, and what is read from the lake when a config names it so."""
    kind: AnnotationKind = load_plugin(FOLDER, name, WORD).KIND
    lake = Path(settings["lake"]) if "lake" in settings else None
    found = rows(lake, name) if lake is not None else []
    claims = settings.get("claims", "default")
    yield Opened(kind, found, asked(lake, claims, name) if lake is not None else ())


def it_names_the_columns_that_hold_it(subject: Opened) -> None:
    """The main one first, and no other kind's."""
    kept(isinstance(subject.kind, AnnotationKind), f"KIND is an AnnotationKind, not a {type(subject.kind).__name__}")
    kept(subject.kind.columns, "`columns` is empty: the kind would never be looked for")
    for name, other in annotation_kinds().items():
        same = set(other.columns) & set(subject.kind.columns) if other is not subject.kind else set()
        kept(not same, f"the kind '{name}' is kept in the columns {sorted(same)} as well")


def what_is_not_its_own_it_leaves_alone(subject: Opened) -> None:
    """None for empty cells and for other data in its columns; ItemFailed("bad_annotation") for its own that is broken."""
    for value in FOREIGN:
        cells = dict.fromkeys(subject.kind.columns, value)
        try:
            found = subject.kind.read(cells)
        except ItemFailed as failure:
            kept(failure.reason == "bad_annotation", f"a broken annotation is a 'bad_annotation', not '{failure.reason}'")
            continue
        except Exception as error:
            raise AssertionError(f"read raised {type(error).__name__} on cells of {value!r}: {error}") from error
        kept(found is None or isinstance(found, Annotation), f"read gives an Annotation or None, not {found!r}")
        kept(value is not None or found is None, "empty cells hold no annotation: read must give None")


def the_modules_that_it_names_understand_it(subject: Opened) -> None:
    """`claims` and `questions` have the functions that are called; pipelines and factors are of the right form."""
    for part in (subject.kind.claims, subject.kind.questions):
        if part:
            import_plugin(part, f"the module '{part}' that KIND names")
    for key, fields in (subject.kind.pipelines() if subject.kind.pipelines is not None else {}).items():
        missing = {"intent", "description", "answer_type", "slots"} - set(fields)
        kept(not missing, f"the pipeline '{key}' lacks {sorted(missing)}")


def its_rows_are_read_as_it(subject: Opened) -> None:
    """Every picture of the lake given has an annotation of the kind."""
    for row in subject.rows:
        kept(row.annotation is not None, f"{row.ref.image_id} has no annotation: read gave None")
        kept(claim_rules(row) is not None or not subject.kind.claims, f"no module decides claims about {row.ref.image_id}")
        kept(
            question_rules(row) is not None or not subject.kind.questions, f"no module writes questions about {row.ref.image_id}"
        )


def its_subjects_are_the_same_each_time_and_have_clear_answers(subject: Opened) -> None:
    """What cannot be answered for certain is not asked."""
    kept(subject.asked or not subject.rows or not subject.kind.claims, "no claim of the set is offered a subject on any picture")
    for one in subject.asked:
        rules = claim_rules(one.row)
        assert rules is not None
        name, given = one.row.ref.image_id, {"seed": 1, "unanswerable_share": 0.3}
        again = rules.choose_subject(one.claim, one.row, image_id=name, **given)  # type: ignore[arg-type]
        kept(again == one.subject, f"'{one.claim.claim_id}' on {name} got another subject the second time")
        kept(one.truth.clear, f"'{one.claim.claim_id}' on {name} is asked about a subject whose answer is not clear")
        kept(one.truth.answerable == one.subject.answerable, f"'{one.claim.claim_id}' on {name}: subject and truth disagree")


def its_right_answers_can_be_read_and_nonsense_cannot(subject: Opened) -> None:
    """`read_value` gives the spelling of `Truth` for every accepted answer."""
    for one in subject.asked:
        rules = claim_rules(one.row)
        assert rules is not None
        for slot, values in one.truth.accepted.items():
            for value in values:
                read = rules.read_value(slot, value)
                kept(read == value, f"{slot}: the right answer '{value}' of {one.row.ref.image_id} is read as {read!r}")


PROMISES = (
    it_names_the_columns_that_hold_it,
    what_is_not_its_own_it_leaves_alone,
    the_modules_that_it_names_understand_it,
    its_rows_are_read_as_it,
    its_subjects_are_the_same_each_time_and_have_clear_answers,
    its_right_answers_can_be_read_and_nonsense_cannot,
)
