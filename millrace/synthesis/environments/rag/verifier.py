"""Checks chains over a corpus on the raw text: no search index, no paragraph merged or left out.

Every hop is computed once for each way in which a reader could take its question (`raw_text.READINGS`); only a value that all of
them lead to is proven. A blank must have exactly one filler in the whole corpus; "the only one" is looked for in every paragraph
of the document.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from millrace.synthesis.environments import Unprovable, Value, Verifier
from millrace.synthesis.environments.rag.raw_text import READINGS, TYPES, paragraphs_of, stands_in, terms_by_reading

MAX_ALTERNATIVES = 60


class RagVerifier(Verifier):
    """Recomputes chains on raw documents."""

    name = "rag/raw-text@2"

    def __init__(self, raw: Mapping[str, str]) -> None:
        self._raw = raw

    @cached_property
    def _readings(self) -> list[Reading]:
        """The corpus in every way of reading it, made by the first use: a process that only runs tools never needs it."""
        documents = {name: paragraphs_of(self._raw[name]) for name in sorted(self._raw)}
        known: Known = {}
        return [Reading(name, documents, known) for name in READINGS]

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The start is a list of paragraphs near the seed; it only has to exist."""
        for place in start["value"]:
            name, _, number = place.rpartition("#")
            if not 0 <= int(number) < len(self._readings[0].documents.get(name, ())):
                raise Unprovable(f"there is no paragraph {place}")
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """One hop, on raw text; the same for every way of reading it."""
        stated, *others = self._readings
        value = stated.apply(op, args, values[-1])
        for reading in others:
            try:
                other = reading.apply(op, args, values[-1])
            except Unprovable as error:
                raise Unprovable(f"{op} cannot be told when {READINGS[reading.name]}: {error}") from error
            if other != value:
                raise Unprovable(f"{op} gives {value!r}, and {other!r} when {READINGS[reading.name]}")
        return value

    def suppose(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """One hop as the question states it, for a value that is only supposed."""
        return self._readings[0].apply(op, args, values[-1])

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """The most frequent other terms of the same type; for a document, other documents."""
        return self._readings[0].others_like(values[-1])


Known = dict[str, dict[str, tuple[tuple[str, str], ...]]]
"""Text → way of reading → its terms."""


class Reading:
    """A corpus read in one way."""

    def __init__(self, name: str, documents: Mapping[str, list[str]], known: Known) -> None:
        """`known` is shared with the other ways of reading the same corpus."""
        self.name = name
        self.documents = dict(documents)
        if name == "each paragraph once":
            self.documents = {title: list(dict.fromkeys(texts)) for title, texts in documents.items()}
        self._known = known
        self._all: dict[str, list[tuple[str, str]]] = {}
        self._mentioning: dict[tuple[str, str], list[str]] = {}
        self._fillers: dict[str, set[str]] = {}
        counts: dict[tuple[str, str], int] = {}
        for texts in self.documents.values():
            for text in texts:
                for found in set(self.terms(text)):
                    counts[found] = counts.get(found, 0) + 1
        self._common = sorted(counts, key=lambda found: (-counts[found], found))
        self._type_of = {term: kind for kind, term in counts}
        self._computed: dict[tuple[str, str, str], Value | Unprovable] = {}

    def terms(self, text: str) -> tuple[tuple[str, str], ...]:
        """(type, term) of everything in a text."""
        if text not in self._known:
            self._known[text] = terms_by_reading(text)
        return self._known[text][self.name]

    def apply(self, op: str, args: Mapping[str, Any], value: Value) -> Value:
        """The one value of a hop.

        Raises:
            Unprovable: there is none, or more than one.
        """
        key = (op, repr(sorted(args.items())), repr(value) if op != "fill_blank" else "")
        if key not in self._computed:
            if len(self._computed) > 100_000:
                self._computed.clear()
            try:
                self._computed[key] = self._apply(op, args, value)
            except Unprovable as error:
                self._computed[key] = error
        known = self._computed[key]
        if isinstance(known, Unprovable):
            raise known
        return known

    def others_like(self, true: Value) -> list[Value]:
        """Other terms of the same type, the most frequent first; for a document, other documents."""
        if true in self._type_of:
            kind = self._type_of[true]
            return [term for found, term in self._common if found == kind and term != true][:MAX_ALTERNATIVES]
        return [name for name in sorted(self.documents) if name != true][:MAX_ALTERNATIVES] if true in self.documents else []

    def _apply(self, op: str, args: Mapping[str, Any], value: Value) -> Value:
        verb, _, kind = op.partition("_")
        whole: dict[str, Callable[..., Value]] = {
            "fill_blank": self._fill,
            "main_document": self._main_document,
            "first_document": lambda term, args: sorted(self._documents_with(term))[0],
            "last_document": lambda term, args: sorted(self._documents_with(term))[-1],
            "count_paragraphs": self._count_paragraphs,
            "count_documents": lambda term, args: len(self._documents_with(term)),
            "highest_version": lambda term, args: self._versions_with(term)[-1],
            "lowest_version": lambda term, args: self._versions_with(term)[0],
        }
        typed: dict[str, Callable[..., Value]] = {
            "only": self._only,
            "next": self._next,
            "kth": self._kth,
            "most": self._most,
            "partner": self._partner,
            "beside": self._beside,
            "distinct": self._distinct,
        }
        try:
            if op in whole:
                return whole[op](value, args)
            if verb in typed and kind in TYPES:
                return typed[verb](value, args, kind)
        except (KeyError, IndexError, TypeError) as error:
            raise Unprovable(f"{op}: {error!r}") from error
        raise Unprovable(f"no second way is known for '{op}'")

    def _stands_in(self, text: str, term: str) -> int:
        return stands_in(text, term, after_dot=self.name != "names alone") if term in text else -1

    def _paragraphs(self, name: str, term: str) -> list[str]:
        """Paragraphs of a document that mention a term; at least one."""
        key = (name, term)
        if key not in self._mentioning:
            self._mentioning[key] = [text for text in self.documents[name] if self._stands_in(text, term) >= 0]
        if not self._mentioning[key]:
            raise Unprovable(f"'{name}' does not mention {term}")
        return self._mentioning[key]

    def _fill(self, places: Value, args: Mapping[str, Any]) -> str:
        left, _, right = args["shown"].partition("____")
        fillers = set()
        for paragraphs in self.documents.values():
            for text in paragraphs:
                begin = text.find(left)
                while begin >= 0:
                    end = text.find(right, begin + len(left) + 1)
                    if end > 0 and end - begin - len(left) <= 60:
                        fillers.add(text[begin + len(left) : end])
                    begin = text.find(left, begin + 1)
        fillers = {filler for filler in fillers if " " not in filler.removeprefix("PEP ") or self._type_of.get(filler) == "name"}
        if len(fillers) != 1:
            raise Unprovable(f"{len(fillers)} texts fill the blank")
        filler = fillers.pop()
        if self._type_of.get(filler) != args["kind"]:
            raise Unprovable(f"{filler} is no {args['kind']}")
        return filler

    def _only(self, term: str, args: Mapping[str, Any], kind: str) -> str:
        found = {
            other
            for text in self._paragraphs(args["topic"], term)
            for sort, other in self.terms(text)
            if sort == kind and other != term
        }
        everywhere = {other for text in self.documents[args["topic"]] for sort, other in self.terms(text) if sort == kind}
        if len(found) != 1:
            raise Unprovable(f"{len(found)} candidates")
        if len(everywhere) < 3:
            raise Unprovable("the document has too few of that kind to choose from")
        return found.pop()

    def _next(self, term: str, args: Mapping[str, Any], kind: str) -> str:
        text = self._paragraphs(args["topic"], term)[0]
        rest = text[self._stands_in(text, term) + len(term) :]
        ahead = "x" if text[: len(text) - len(rest)][-1:].isalnum() else ")"
        found = [other for sort, other in self.terms(ahead + rest) if sort == kind and other != term]
        if not found:
            raise Unprovable("nothing of that kind follows")
        return found[0]

    def _kth(self, name: str, args: Mapping[str, Any], kind: str) -> str:
        found: list[str] = []
        for text in self.documents[name]:
            found += [term for sort, term in self.terms(text) if sort == kind and term not in found]
        distinct = sorted(set(found), key=found.index)
        return distinct[int(args["k"]) - 1]

    def _most(self, name: str, args: Mapping[str, Any], kind: str) -> str:
        counts: dict[str, int] = {}
        for text in self.documents[name]:
            for sort, term in set(self.terms(text)):
                if sort == kind:
                    counts[term] = counts.get(term, 0) + 1
        best = [term for term, count in counts.items() if count == max(counts.values())]
        if len(best) != 1:
            raise Unprovable(f"{len(best)} terms share the first place")
        return best[0]

    def _everywhere(self, term: str) -> list[tuple[str, str]]:
        """(document, paragraph) of all paragraphs that mention a term; at least one."""
        if term not in self._all:
            if term not in self._type_of:
                raise Unprovable(f"{term} is no term")
            self._all[term] = [
                (name, text) for name, texts in self.documents.items() for text in texts if self._stands_in(text, term) >= 0
            ]
        if not self._all[term]:
            raise Unprovable(f"nothing mentions {term}")
        return self._all[term]

    def _texts_with(self, term: str) -> list[str]:
        """All paragraphs that mention a term; read once, one that stands in several documents is one."""
        texts = [text for _, text in self._everywhere(term)]
        return list(dict.fromkeys(texts)) if self.name == "each paragraph once" else texts

    def _documents_with(self, term: str) -> set[str]:
        return {name for name, _ in self._everywhere(term)}

    def _count_paragraphs(self, term: str, args: Mapping[str, Any]) -> int:
        return len(self._texts_with(term))

    def _main_document(self, term: str, args: Mapping[str, Any]) -> str:
        names = [name for name, _ in self._everywhere(term)]
        best = [name for name in set(names) if all(names.count(name) >= names.count(other) for other in set(names))]
        if len(best) != 1:
            raise Unprovable(f"{len(best)} documents share the first place")
        return best[0]

    def _partner(self, term: str, args: Mapping[str, Any], kind: str) -> str:
        together = [
            {other for sort, other in self.terms(text) if sort == kind and other != term} for text in self._texts_with(term)
        ]
        counts = {other: sum(other in found for found in together) for found in together for other in found}
        best = [other for other, count in counts.items() if count == max(counts.values())]
        if len(best) != 1 or counts[best[0]] < 2:
            raise Unprovable(f"{len(best)} terms share the first place, or stand beside it only once")
        return best[0]

    def _versions_with(self, term: str) -> list[str]:
        """The version numbers beside a term, the lowest first; at least two."""
        found = {other for text in self._texts_with(term) for sort, other in self.terms(text) if sort == "version"}
        if len(found) < 2:
            raise Unprovable("there are no two version numbers to compare")
        return sorted(found, key=lambda version: [int(part) for part in version.split(".")])

    def _beside(self, term: str, args: Mapping[str, Any], kind: str) -> str:
        both = [text for text in self._texts_with(term) if self._stands_in(text, args["second"]) >= 0]
        found = {other for text in both for sort, other in self.terms(text) if sort == kind} - {term, args["second"]}
        if len(found) != 1:
            raise Unprovable(f"{len(found)} candidates")
        return found.pop()

    def _distinct(self, name: str, args: Mapping[str, Any], kind: str) -> int:
        return len({term for text in self.documents[name] for sort, term in self.terms(text) if sort == kind})
