"""Checks chains over a corpus on the raw text: own paragraphs, own reading of terms character by character, no search index.

A blank must have exactly one filler in the whole corpus; "the only one" is looked for in every paragraph of the document.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from millrace.synthesis.environments import Unprovable, Value

ENDINGS = ("Error", "Exception", "Warning", "Iteration", "Interrupt")
TYPES = ("exception", "special", "builtin", "pep", "version", "name", "year")
MAX_ALTERNATIVES = 60


def tokens(text: str) -> list[tuple[str, int]]:
    """(word, where it starts): runs of letters, digits and underscores."""
    found, start = [], -1
    for place, c in enumerate(text + " "):
        inside = c.isalnum() or c == "_"
        if inside and start < 0:
            start = place
        elif not inside and start >= 0:
            found.append((text[start:place], start))
            start = -1
    return found


@lru_cache(maxsize=20_000)
def terms(text: str) -> tuple[tuple[str, str], ...]:
    """(type, term) of everything in a text, in order."""
    found: list[tuple[str, str]] = []
    words = tokens(text)
    for number, (word, start) in enumerate(words):
        end = start + len(word)
        free = start == 0 or text[start - 1] != "."
        if free and word.endswith(ENDINGS) and word[0].isupper() and word.isalpha() and word.isascii():
            found.append(("exception", word))
        if free and _is_special(word):
            found.append(("special", word))
        if free and text[end : end + 2] == "()" and word.islower() and word[0] != "_" and hasattr(builtins, word):
            found.append(("builtin", word + "()"))
        before = words[number - 1] if number else ("", -9)
        if (
            before[0] == "PEP"
            and word.isdecimal()
            and text[before[1] + 3 : start] == " "
            and (before[1] == 0 or text[before[1] - 1] != ".")
        ):
            found.append(("pep", f"PEP {word}"))
        if word in ("2", "3") and text[end : end + 1] == "." and number + 1 < len(words) and words[number + 1][1] == end + 1:
            minor = words[number + 1][0]
            after = text[end + 1 + len(minor) : end + 3 + len(minor)]
            # the words "version " may be the end of a longer word: "subversion 3.1" counts too, as it is written
            if minor.isdecimal() and text[:start].endswith("version ") and not (after[:1] == "." and after[1:2].isdecimal()):
                found.append(("version", f"{word}.{minor}"))
        if free and len(word) == 4 and word.isdecimal() and (word[0] == "1" or word[:2] == "20"):
            after = text[end : end + 2]
            if not (after[:1] == "." and after[1:].isdecimal()):
                found.append(("year", word))
    return tuple(found + _names(text, words))


def _is_special(word: str) -> bool:
    inner = word[2:-2]
    return (
        len(inner) >= 2
        and word[:2] == word[-2:] == "__"
        and all(c == "_" or "a" <= c <= "z" for c in inner)
        and inner[0] != "_"
        and inner[-1] != "_"
    )


def _names(text: str, words: list[tuple[str, int]]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    run: list[tuple[str, int]] = []
    for word, start in [*words, ("", len(text) + 9)]:
        capital = len(word) > 1 and word[0].isascii() and word[0].isupper() and all("a" <= c <= "z" for c in word[1:])
        joined = bool(run) and text[run[-1][1] + len(run[-1][0]) : start] == " "
        if run and not (capital and joined):
            if len(run) > 1 and (run[0][1] == 0 or text[run[0][1] - 1] != "."):
                found.append(("name", " ".join(part for part, _ in run)))
            run = []
        if capital:
            run.append((word, start))
    return found


def stands_in(text: str, term: str) -> int:
    """Where a term stands in a text as a whole; -1: nowhere."""
    place = text.find(term)
    while place >= 0:
        before, after = text[place - 1 : place], text[place + len(term) : place + len(term) + 2]
        inside = before.isalnum() or before in ("_", ".") if before else False
        goes_on = bool(after) and (after[0].isalnum() or after[0] == "_" or (after[0] == "." and after[1:].isdecimal()))
        if not inside and not goes_on:
            return place
        place = text.find(term, place + 1)
    return -1


def _only_draws(line: str) -> bool:
    """Whether a line is a rule under a heading or around a table."""
    signs = line.lstrip()
    return len(signs) >= 3 and signs[0] in "-=*~^_+#." and signs[:3] == signs[0] * 3 and all(c in "-=*~^_+#.| " for c in signs)


def _first_words(text: str) -> str:
    """The first five, walking over the text."""
    words, word = [], ""
    for c in text + " ":
        if c == " ":
            words.append(word)
            word = ""
        else:
            word += c
    return " ".join(words[:5])


class RagVerifier:
    """Recomputes chains on raw documents."""

    name = "rag/raw-text@1"

    def __init__(self, raw: Mapping[str, str]) -> None:
        self.documents: dict[str, list[str]] = {}
        known: set[str] = set()
        for name in sorted(raw):
            paragraphs: list[str] = []
            lines: list[str] = []
            for line in [*raw[name].replace("\r\n", "\n").split("\n"), ""]:
                if line.strip():
                    lines += [] if _only_draws(line) else [line]
                    continue
                text = " ".join(" ".join(lines).split())
                lines = []
                if text and text not in known:
                    known.add(text)
                    paragraphs.append(text)
            self.documents[name] = paragraphs
        self._all: dict[str, list[tuple[str, str]]] = {}
        self._mentioning: dict[tuple[str, str], list[str]] = {}
        counts: dict[tuple[str, str], int] = {}
        for paragraphs in self.documents.values():
            for text in paragraphs:
                for found in set(terms(text)):
                    counts[found] = counts.get(found, 0) + 1
        self._common = sorted(counts, key=lambda found: (-counts[found], found))
        self._type_of = {term: kind for kind, term in counts}

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The start is a list of paragraphs near the seed; it only has to exist."""
        for place in start["value"]:
            name, _, number = place.rpartition("#")
            if not 0 <= int(number) < len(self.documents.get(name, ())):
                raise Unprovable(f"there is no paragraph {place}")
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """One hop, on raw text."""
        verb, _, kind = op.partition("_")
        whole: dict[str, Callable[..., Value]] = {
            "fill_blank": self._fill,
            "main_document": self._main_document,
            "first_document": lambda term, args: sorted(self._documents_with(term))[0],
            "last_document": lambda term, args: sorted(self._documents_with(term))[-1],
            "count_paragraphs": lambda term, args: len(self._everywhere(term)),
            "words_of_longest": lambda term, args: self._extreme(term, longest=True).count(" ") + 1,
            "opening_of_shortest": lambda term, args: _first_words(self._extreme(term, longest=False)),
            "opening_of_kth": lambda name, args: _first_words(self.documents[name][args["k"] - 1]),
            "paragraphs_of_document": lambda name, args: len(self.documents[name]),
            "opening_words": self._opening,
            "paragraph_words": self._words,
        }
        typed: dict[str, Callable[..., Value]] = {
            "only": self._only,
            "next": self._next,
            "kth": self._kth,
            "most": self._most,
            "partner": self._partner,
        }
        try:
            if op in whole:
                return whole[op](values[-1], args)
            if verb in typed and kind in TYPES:
                return typed[verb](values[-1], args, kind)
        except (KeyError, IndexError, TypeError) as error:
            raise Unprovable(f"{op}: {error!r}") from error
        raise Unprovable(f"no second way is known for '{op}'")

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """The most frequent other terms of the same type; for a document, other documents."""
        true = values[-1]
        if true in self._type_of:
            kind = self._type_of[true]
            return [term for found, term in self._common if found == kind and term != true][:MAX_ALTERNATIVES]
        return [name for name in sorted(self.documents) if name != true][:MAX_ALTERNATIVES] if true in self.documents else []

    def _paragraphs(self, name: str, term: str) -> list[str]:
        """Paragraphs of a document that mention a term; at least one."""
        key = (name, term)
        if key not in self._mentioning:
            self._mentioning[key] = [text for text in self.documents[name] if stands_in(text, term) >= 0]
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
            for sort, other in terms(text)
            if sort == kind and other != term
        }
        everywhere = {other for text in self.documents[args["topic"]] for sort, other in terms(text) if sort == kind}
        if len(found) != 1:
            raise Unprovable(f"{len(found)} candidates")
        if len(everywhere) < 3:
            raise Unprovable("the document has too few of that kind to choose from")
        return found.pop()

    def _next(self, term: str, args: Mapping[str, Any], kind: str) -> str:
        text = self._paragraphs(args["topic"], term)[0]
        rest = text[stands_in(text, term) + len(term) :]
        ahead = "x" if text[: len(text) - len(rest)][-1:].isalnum() else ")"
        found = [other for sort, other in terms(ahead + rest) if sort == kind and other != term]
        if not found:
            raise Unprovable("nothing of that kind follows")
        return found[0]

    def _kth(self, name: str, args: Mapping[str, Any], kind: str) -> str:
        found: list[str] = []
        for text in self.documents[name]:
            found += [term for sort, term in terms(text) if sort == kind and term not in found]
        distinct = sorted(set(found), key=found.index)
        return distinct[int(args["k"]) - 1]

    def _most(self, name: str, args: Mapping[str, Any], kind: str) -> str:
        counts: dict[str, int] = {}
        for text in self.documents[name]:
            for sort, term in set(terms(text)):
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
                (name, text) for name, texts in self.documents.items() for text in texts if stands_in(text, term) >= 0
            ]
        if not self._all[term]:
            raise Unprovable(f"nothing mentions {term}")
        return self._all[term]

    def _documents_with(self, term: str) -> set[str]:
        return {name for name, _ in self._everywhere(term)}

    def _main_document(self, term: str, args: Mapping[str, Any]) -> str:
        names = [name for name, _ in self._everywhere(term)]
        best = [name for name in set(names) if all(names.count(name) >= names.count(other) for other in set(names))]
        if len(best) != 1:
            raise Unprovable(f"{len(best)} documents share the first place")
        return best[0]

    def _partner(self, term: str, args: Mapping[str, Any], kind: str) -> str:
        together = [
            {other for sort, other in terms(text) if sort == kind and other != term} for _, text in self._everywhere(term)
        ]
        counts = {other: sum(other in found for found in together) for found in together for other in found}
        best = [other for other, count in counts.items() if count == max(counts.values())]
        if len(best) != 1 or counts[best[0]] < 2:
            raise Unprovable(f"{len(best)} terms share the first place, or stand beside it only once")
        return best[0]

    def _extreme(self, term: str, *, longest: bool) -> str:
        texts = [text for _, text in self._everywhere(term)]
        lengths = [len(text) for text in texts]
        wanted = max(lengths) if longest else min(lengths)
        if len(texts) < 2 or lengths.count(wanted) != 1:
            raise Unprovable("no single paragraph is the longest or shortest")
        return texts[lengths.index(wanted)]

    def _opening(self, term: str, args: Mapping[str, Any]) -> str:
        return _first_words(self._paragraphs(args["topic"], term)[0])

    def _words(self, term: str, args: Mapping[str, Any]) -> int:
        return self._paragraphs(args["topic"], term)[0].count(" ") + 1
