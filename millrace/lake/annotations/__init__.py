"""An annotation is what is known about a picture beforehand, beside it in its row: bytes of some kind. One kind is one plug-in.

The lake only carries the bytes. A config names the kind of its lake (`probing.lake.annotation`: a name, or the dotted path of a
module), or a package registers for a kind by an entry point, and it is tried on every lake:

    [project.entry-points."millrace.lake.annotations"]
    my_kind = "my_package.my_kind"

The module named has a `KIND`, an `AnnotationKind`. It is imported wherever rows are read, so it should import little; what
understands the annotation stands in other modules, which `KIND` names and which are imported on first use. How to write one:
docs/extending/annotation-kind.md.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Protocol

import msgspec

from millrace.plugins.loading import load_plugin, plugin_names

PACKAGE = "millrace.lake.annotations"

ANY = "any"
"""Instead of a kind's name: every kind that is registered is tried."""


class Annotation(msgspec.Struct, frozen=True):
    """One picture's annotation."""

    kind: str
    """The plug-in's name, as the config or the entry point has it; `read_annotation` sees to that."""
    data: bytes
    """What was written down, in the kind's own form."""
    second_view: bytes | None = None
    """The same said once more from another source (a label map, masks), for the check of an answer; None when there is none."""


class AnnotationKind(msgspec.Struct, frozen=True):
    """How rows carry annotations of one kind, and who understands them."""

    columns: tuple[str, ...]
    """Columns of a parquet file that hold them, the main one first. They count as no metadata."""
    read: Callable[[Mapping[str, Any]], Annotation | None]
    """The annotation in a row's cells (by column; None for an empty one); None when they hold something else.

    Raises `ItemFailed("bad_annotation")` for one that is of this kind and broken: the row is then dropped with that reason.
    """
    claims: str = ""
    """Dotted path of the module that decides claims (`millrace.probing.annotated.ClaimRules`); "" for none."""
    questions: str = ""
    """Dotted path of the module that writes and checks questions (`millrace.qa.annotated.QuestionRules`); "" for none."""
    pipelines: Callable[[], Mapping[str, Mapping[str, Any]]] | None = None
    """Question pipelines beyond the shipped ones: key → the fields of `millrace.qa.writing.pipelines.Pipeline`."""
    factors: Mapping[str, str] = {}
    """What makes its pictures hard, by the names that `ClaimRules.factors` gives: each in the words of a report."""


class Plugin(Protocol):
    """What a module in this folder, or one of its entry points, has."""

    KIND: AnnotationKind


@lru_cache(maxsize=8)
def annotation_kinds(named: str = ANY) -> Mapping[str, AnnotationKind]:
    """The kinds that a row's columns are tried for, by name, in that order: the one named, or every registered one.

    Raises:
        UsageError: no kind is called that.
    """
    names = plugin_names(PACKAGE) if named == ANY else [named]
    return {name: load_plugin(PACKAGE, name, "annotation kind").KIND for name in names}


def kind_named_in(probing: Mapping[str, Any]) -> str:
    """What `lake.annotation` is in a stored section `probing` of a config; `ANY` where an earlier version wrote it."""
    return str(probing.get("lake", {}).get("annotation", ANY))


@lru_cache(maxsize=8)
def annotation_columns(named: str = ANY) -> frozenset[str]:
    """The columns of these kinds."""
    return frozenset(column for kind in annotation_kinds(named).values() for column in kind.columns)


def _known(named: str) -> Mapping[str, AnnotationKind]:
    """Every registered kind, and the one named."""
    return {**annotation_kinds(), **annotation_kinds(named)}


@lru_cache(maxsize=8)
def added_pipelines(named: str = ANY) -> Mapping[str, Mapping[str, Any]]:
    """The question pipelines that kinds of annotation, registered or named, add to the shipped ones."""
    found: dict[str, Mapping[str, Any]] = {}
    for kind in _known(named).values():
        found |= kind.pipelines() if kind.pipelines is not None else {}
    return found


def factor_words(name: str, named: str = ANY) -> str:
    """A factor in words; its name when no kind, registered or named, has words for it."""
    return next((kind.factors[name] for kind in _known(named).values() if name in kind.factors), name)


def has_annotations(columns: tuple[str, ...], named: str = ANY) -> bool:
    """Whether a file with these columns has one that some kind is kept in."""
    return any(kind.columns[0] in columns for kind in annotation_kinds(named).values())


def read_annotation(cell: Callable[[str], Any], named: str = ANY) -> Annotation | None:
    """The annotation of a row: the first kind that finds its own in it; None when none does.

    Args:
        cell: gives a column's value, None for a column that is not there.
        named: the one kind to try.

    Raises:
        ItemFailed: it is broken ("bad_annotation").
    """
    for name, kind in annotation_kinds(named).items():
        found = kind.read({column: cell(column) for column in kind.columns})
        if found is not None:
            return found if found.kind == name else msgspec.structs.replace(found, kind=name)
    return None


def understood_by(annotation: Annotation | None, ability: str) -> ModuleType | None:
    """The module that understands the annotation; `ability` is `claims` or `questions`. None when there is no such module."""
    if annotation is None:
        return None
    kinds = annotation_kinds(annotation.kind) if "." in annotation.kind else annotation_kinds()
    kind = kinds.get(annotation.kind)
    path = getattr(kind, ability) if kind is not None else ""
    return importlib.import_module(path) if path else None
