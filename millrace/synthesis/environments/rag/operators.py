"""What a program can ask of a corpus: fill a blank, follow a term through a document, count, compare, quote."""

# ruff: noqa: E501 - the tables read best with one operator's two wordings on a line each, and Chinese counts double

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from millrace.synthesis.environments import Constants, Operator, Value
from millrace.synthesis.environments.rag.corpus import INSIDE, Corpus, mentions, paragraphs_in
from millrace.synthesis.environments.rag.terms import BRIDGES, MAX_HITS, MIN_RESULTS, READABLE_CHARS, SAID, Vocabulary, terms_in

ANSWER_TYPES = {"name": "name"}
"""Type of term → how an answer of that type is scored, where it is not as an exact term."""


def _read_all(args: Mapping[str, Any], values: Sequence[Value]) -> dict[str, str]:
    return {"doc_id": args["topic"], "find": values[-1]}


def fill_blank(shown: str, observation: str) -> str:
    """The one term that fills the blank somewhere in what the search has shown.

    Raises:
        ValueError: none does, or several do.
    """
    left, _, right = shown.partition("____")
    pattern = re.compile(re.escape(left) + r"(\S+?|PEP \d+|[A-Z]\w+(?: [A-Z]\w+)+)" + re.escape(right))
    fillers = {match for _, _, text in paragraphs_in(observation) for match in pattern.findall(text)}
    return _only(sorted(fillers))


def _only(found: Sequence[str]) -> str:
    if len(found) != 1:
        raise ValueError(f"{len(found)} candidates where one is needed")
    return found[0]


def build_operators(vocabulary: Vocabulary) -> dict[str, Operator]:
    """Name → operator, over a corpus."""
    corpus = vocabulary.corpus
    table = [_cloze(vocabulary)]
    for kind in vocabulary.kinds:
        table += [_pair(vocabulary, kind), _distinct(corpus, kind)]
        table += [_only_one(vocabulary, kind), _next(vocabulary, kind), _kth(corpus, kind), _most(corpus, kind)]
    table += _over_all(vocabulary)
    return {operator.name: operator for operator in table}


def _cloze(vocabulary: Vocabulary) -> Operator:
    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        places = [(name, int(number)) for name, _, number in (place.rpartition("#") for place in values[-1])]
        found = [blank for place in places for blank in vocabulary.blanks_of(*place)]
        return dict(rng.choice(found[:12])) if found else None

    return Operator(
        name="fill_blank", takes="corpus", gives="term", tool="local_search", draw=draw, answers=False,
        act=lambda args, values: {"query": args["shown"].replace("____", " "), "top_k": 5},
        read=lambda args, values, text: fill_blank(args["shown"], text), rules=("{kind}",),
        en='The documents say: "{shown}" Let {v} be the {kind_said} that fills the blank.', zh="文档中写道：“{shown}”设 {v} 为空白处的{kind_said}。",
    )  # fmt: skip


Result = Callable[[str, list[str]], str | int | None]


def _topic_with(vocabulary: Vocabulary, result: Result) -> Callable[..., Constants | None]:
    """Draws a document in which the input has a result, and so have other terms of its type, with different ones.

    `result` gets a term and the paragraphs of the document that mention it; None: it has none there.
    """
    known: dict[tuple[str, str], dict[str, str | int]] = {}

    def results(name: str, kind: str) -> dict[str, str | int]:
        if (name, kind) not in known:
            texts = vocabulary.corpus.documents[name]
            found = {
                term: result(term, [text for text in texts if mentions(text, term)])
                for term in vocabulary.terms_of.get((name, kind), [])
            }
            known[(name, kind)] = {term: value for term, value in found.items() if value is not None}
        return known[(name, kind)]

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        term = values[-1]
        kind = vocabulary.kind_of.get(term, "")
        fit = []
        for name in sorted(vocabulary.topics.get(term, ())):
            found = results(name, kind)
            if term in found and len(set(map(str, found.values()))) >= MIN_RESULTS:
                fit.append(name)
        return {"topic": rng.choice(fit)} if fit else None

    return draw


def _only_one(vocabulary: Vocabulary, kind: str) -> Operator:
    def others(term: str, texts: Sequence[str]) -> list[str]:
        return sorted({found for text in texts for found in terms_in(text, kind)} - {term})

    def result(term: str, texts: list[str]) -> str | None:
        found = others(term, texts)
        return found[0] if len(found) == 1 else None

    return Operator(
        name=f"only_{kind}", takes="term", gives="term" if kind in BRIDGES else "label", tool="local_read", weight=2.0, rules=("paragraph", "mention", kind),
        draw=_topic_with(vocabulary, result), act=_read_all, answer_type=ANSWER_TYPES.get(kind, "term"),
        read=lambda args, values, text: _only(others(values[-1], [shown for _, _, shown in paragraphs_in(text)])),
        en=f"the only {SAID[kind][0]} other than {{x}} in those paragraphs of the document '{{topic}}' that mention {{x}}",
        zh=f"文档“{{topic}}”中提到 {{x}} 的各段落里除 {{x}} 外唯一的{SAID[kind][1]}",
    )  # fmt: skip


def _next(vocabulary: Vocabulary, kind: str) -> Operator:
    def following(term: str, texts: Sequence[str]) -> str:
        after = re.split(rf"(?<!{INSIDE}){re.escape(term)}(?!{INSIDE}|\.\d)", texts[0], maxsplit=1)
        found = [other for other in terms_in(after[1] if len(after) > 1 else "", kind) if other != term]
        return found[0] if found else ""

    def read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> str:
        said = following(values[-1], [shown for _, _, shown in paragraphs_in(text)])
        if not said:
            raise ValueError("nothing of that kind follows")
        return said

    return Operator(
        name=f"next_{kind}", takes="term", gives="term" if kind in BRIDGES else "label", tool="local_read", weight=1.5, answer_type=ANSWER_TYPES.get(kind, "term"), rules=("paragraph", "mention", kind),
        draw=_topic_with(vocabulary, lambda term, texts: (following(term, texts) or None) if texts else None), act=_read_all, read=read,
        en=f"the next {SAID[kind][0]} after the first mention of {{x}} in the first paragraph of the document '{{topic}}' that mentions it",
        zh=f"文档“{{topic}}”第一个提到 {{x}} 的段落中，{{x}} 首次出现之后的下一个{SAID[kind][1]}",
    )  # fmt: skip


def _whole(args: Mapping[str, Any], values: Sequence[Value]) -> dict[str, str]:
    return {"doc_id": values[-1], "find": ""}


def _kth(corpus: Corpus, kind: str) -> Operator:
    def distinct(texts: Sequence[str]) -> list[str]:
        return list(dict.fromkeys(term for text in texts for term in terms_in(text, kind)))

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        texts = corpus.documents.get(values[-1], [])
        found = distinct(texts) if sum(map(len, texts)) < READABLE_CHARS else []
        return {"k": rng.randint(1, min(len(found), 6))} if found else None

    return Operator(
        name=f"kth_{kind}", takes="topic", gives="term" if kind in BRIDGES else "label", tool="local_read", draw=draw, act=_whole, answer_type=ANSWER_TYPES.get(kind, "term"), rules=(kind,),
        read=lambda args, values, text: distinct([shown for _, _, shown in paragraphs_in(text)])[args["k"] - 1],
        en=f"number {{k}} of the different terms of the kind '{SAID[kind][0]}' in the document {{x}}, in the order of their first mention",
        zh=f"文档 {{x}} 中各不相同的{SAID[kind][1]}里，按首次出现次序的第 {{k}} 个",
    )  # fmt: skip


def _most(corpus: Corpus, kind: str) -> Operator:
    def favourite(texts: Sequence[str]) -> str:
        counts = Counter(term for text in texts for term in set(terms_in(text, kind)))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
            raise ValueError("no single term is the most frequent")
        return ranked[0][0]

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        texts = corpus.documents.get(values[-1], [])
        try:
            favourite(texts)
        except ValueError:
            return None
        return {} if sum(map(len, texts)) < READABLE_CHARS else None

    return Operator(
        name=f"most_{kind}", takes="topic", gives="term" if kind in BRIDGES else "label", tool="local_read", draw=draw, act=_whole, answer_type=ANSWER_TYPES.get(kind, "term"), rules=("paragraph", kind),
        read=lambda args, values, text: favourite([shown for _, _, shown in paragraphs_in(text)]),
        en=f"the {SAID[kind][0]} that the largest number of paragraphs of the document {{x}} mention",
        zh=f"文档 {{x}} 中被最多段落提到的{SAID[kind][1]}",
    )  # fmt: skip


def _exact(args: Mapping[str, Any], values: Sequence[Value]) -> dict[str, str | int]:
    return {"query": f'"{values[-1]}"', "top_k": MAX_HITS}


Hits = Sequence[tuple[str, int, str]]


def _global(
    vocabulary: Vocabulary,
    name: str,
    gives: str,
    pick: Callable[[Hits, str], Value],
    en: str,
    zh: str,
    weight: float = 1.5,
    *,
    rules: tuple[str, ...] = ("mention",),
    answer_type: str = "document",
) -> Operator:
    """An operator over all paragraphs that mention its input."""

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        found = vocabulary.everywhere(values[-1])
        try:
            value = pick([(name, 0, text) for name, text in found], values[-1]) if found else None
        except ValueError:
            return None
        return {} if value and (gives != "topic" or vocabulary.readable(value)) else None

    return Operator(
        name=name, takes="term", gives=gives, tool="local_search", draw=draw, act=_exact, weight=weight, en=en, zh=zh, rules=rules, answer_type=answer_type,
        read=lambda args, values, text: pick(paragraphs_in(text), values[-1]),
    )  # fmt: skip


def _single(counts: Counter[str], least: int = 1) -> str:
    ranked = counts.most_common(2)
    if not ranked or ranked[0][1] < least or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        raise ValueError("no single one is the most frequent")
    return ranked[0][0]


def _version(hits: Hits, term: str, *, highest: bool) -> str:
    found = {tuple(map(int, version.split("."))) for _, _, text in hits for version in terms_in(text, "version")}
    if len(found) < 2:
        raise ValueError("there are no two version numbers to compare")
    major, minor = max(found) if highest else min(found)
    return f"{major}.{minor}"


LEAST_RESULTS = 3
"""How many different results the second term of a pair must lead to with other first terms, so that the first one is needed."""


def _pair(vocabulary: Vocabulary, kind: str) -> Operator:
    """What stands in the paragraphs that mention two terms: the input, and one that the question names."""
    known: dict[tuple[str, str], int] = {}

    def results(second: str, sort: str) -> int:
        if (second, sort) not in known:
            firsts = [term for term in vocabulary.company(second) if vocabulary.kind_of[term] == sort]
            known[(second, sort)] = len({vocabulary.alone_beside(term, second, kind) for term in firsts} - {None})
        return known[(second, sort)]

    def seconds(term: str) -> list[str]:
        sort = vocabulary.kind_of.get(term, "")
        fit = [second for second in vocabulary.company(term) if vocabulary.alone_beside(term, second, kind)]
        return [second for second in fit if results(second, sort) >= LEAST_RESULTS] if vocabulary.everywhere(term) else []

    def beside(hits: Hits, term: str, second: str) -> str:
        texts = [text for _, _, text in hits if mentions(text, second)]
        return _only(sorted({found for text in texts for found in terms_in(text, kind)} - {term, second}))

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        fit = [other for other in seconds(values[-1]) if other not in values]
        return {"second": rng.choice(fit)} if fit else None

    return Operator(
        name=f"beside_{kind}", takes="term", gives="term" if kind in BRIDGES else "label", tool="local_search", draw=draw, act=_exact, weight=2.5,
        read=lambda args, values, text: beside(paragraphs_in(text), values[-1], args["second"]),
        en=f"the only {SAID[kind][0]} other than {{x}} and {{second}} in those paragraphs of all documents that mention both {{x}} and {{second}}",
        zh=f"所有文档中同时提到 {{x}} 和 {{second}} 的各段落里，除二者外唯一的{SAID[kind][1]}",
        rules=("paragraph", "mention", kind), answer_type=ANSWER_TYPES.get(kind, "term"),
    )  # fmt: skip


def _distinct(corpus: Corpus, kind: str) -> Operator:
    def count(texts: Sequence[str]) -> int:
        return len({term for text in texts for term in terms_in(text, kind)})

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        texts = corpus.documents.get(values[-1], [])
        return {} if sum(map(len, texts)) < READABLE_CHARS and count(texts) > 2 else None

    return Operator(
        name=f"distinct_{kind}", takes="topic", gives="count", tool="local_read", draw=draw, act=_whole, weight=0.5,
        read=lambda args, values, text: count([shown for _, _, shown in paragraphs_in(text)]),
        en=f"the number of different terms of the kind '{SAID[kind][0]}' in the document {{x}}", zh=f"文档 {{x}} 中不同的{SAID[kind][1]}的个数",
        rules=(kind,), answer_type="integer",
    )  # fmt: skip


def _over_all(vocabulary: Vocabulary) -> list[Operator]:
    table = [
        _global(vocabulary, "main_document", "topic", lambda hits, term: _single(Counter(name for name, _, _ in hits)),
                "the document in which the largest number of paragraphs mention {x}", "提到 {x} 的段落最多的文档", 2.0, rules=("paragraph", "mention")),
        _global(vocabulary, "first_document", "topic", lambda hits, term: min(name for name, _, _ in hits),
                "the document that comes first (by code point of its name) of those that mention {x}", "提到 {x} 的文档中名称按码位排在最前的一个", 0.4),
        _global(vocabulary, "last_document", "topic", lambda hits, term: max(name for name, _, _ in hits),
                "the document that comes last (by code point of its name) of those that mention {x}", "提到 {x} 的文档中名称按码位排在最后的一个", 0.4),
        _global(vocabulary, "count_documents", "count", lambda hits, term: len({name for name, _, _ in hits}) if len(hits) > 3 else 0,
                "the number of documents that mention {x}", "提到 {x} 的文档数", 0.3, answer_type="integer"),
        _global(vocabulary, "highest_version", "label", lambda hits, term: _version(hits, term, highest=True),
                "the highest version number in all paragraphs that mention {x}", "所有提到 {x} 的段落中最大的版本号",
                rules=("paragraph", "mention", "version"), answer_type="term"),
        _global(vocabulary, "lowest_version", "label", lambda hits, term: _version(hits, term, highest=False),
                "the lowest version number in all paragraphs that mention {x}", "所有提到 {x} 的段落中最小的版本号",
                rules=("paragraph", "mention", "version"), answer_type="term"),
        _global(vocabulary, "count_paragraphs", "count", lambda hits, term: len(hits) if len(hits) > 2 else 0,
                "the number of paragraphs in all documents that mention {x}", "所有文档中提到 {x} 的段落数", 0.3, rules=("paragraph", "mention"), answer_type="integer"),
    ]  # fmt: skip
    for kind in vocabulary.kinds:

        def partner(hits: Hits, term: str, kind: str = kind) -> str:
            return _single(Counter(other for _, _, text in hits for other in set(terms_in(text, kind)) if other != term), 2)

        table.append(
            _global(
                vocabulary,
                f"partner_{kind}",
                "term" if kind in BRIDGES else "label",
                partner,
                f"the {SAID[kind][0]} other than {{x}} that stands in the largest number of paragraphs together with {{x}}",
                f"除 {{x}} 外与 {{x}} 同处一段的段落数最多的{SAID[kind][1]}",
                2.0,
                rules=("paragraph", "mention", kind),
                answer_type=ANSWER_TYPES.get(kind, "term"),
            )
        )
    return table
