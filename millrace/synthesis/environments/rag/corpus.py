"""A folder of text, or the reference that ships with Python, as documents of distinct paragraphs with search over them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson

from millrace.errors import InputError
from millrace.synthesis.environments import ToolError
from millrace.synthesis.environments.rag.retrievers import Retriever
from millrace.synthesis.search_index import SearchIndex

TEXT_FILES = {".txt", ".md", ".rst", ".jsonl", ".json"}
MAX_RESULTS = 50
RULE = re.compile(r"\s*([-=*~^_+#.])\1{2,}[-=*~^_+#.| ]*")
"""A line that only draws: under a heading, around a table."""


def python_reference() -> dict[str, str]:
    """Topic → raw text of the reference that every Python installation carries (PSF licence)."""
    from pydoc_data.topics import topics

    return dict(topics)


def read_folder(folder: Path) -> dict[str, str]:
    """Document name → raw text of every text file below a folder; JSON records (`{"text": …}`) are documents of their own.

    Raises:
        InputError: there is no folder, or no text in it.
    """
    if not folder.exists():
        raise InputError(f"the corpus folder {folder} does not exist")
    found: dict[str, str] = {}
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXT_FILES)
    for file in files:
        name = file.stem if folder.is_file() else file.relative_to(folder).with_suffix("").as_posix()
        text = file.read_bytes().decode("utf-8", "replace")
        if file.suffix.lower() in (".jsonl", ".json"):
            for place, record in enumerate(_records(file, text)):
                found[str(record.get("id") or record.get("title") or f"{name}-{place}")] = str(record.get("text") or "")
        else:
            found[name] = text
    found = {name: text for name, text in found.items() if text.strip()}
    if not found:
        raise InputError(f"{folder} holds no text (looked for {', '.join(sorted(TEXT_FILES))})")
    return found


def _records(file: Path, text: str) -> list[dict[str, object]]:
    try:
        rows = (
            orjson.loads(text)
            if file.suffix.lower() == ".json"
            else [orjson.loads(line) for line in text.splitlines() if line.strip()]
        )
    except orjson.JSONDecodeError as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    rows = rows if isinstance(rows, list) else [rows]
    return [row if isinstance(row, dict) else {"text": row} for row in rows]


class Corpus:
    """Documents cut into paragraphs; a paragraph that stands in several documents belongs to the first of them."""

    def __init__(self, documents: Mapping[str, str], open_retriever: Callable[[Sequence[str]], Retriever] = SearchIndex) -> None:
        self.documents: dict[str, list[str]] = {}
        seen: set[str] = set()
        digest = hashlib.sha256()
        for name in sorted(documents):
            paragraphs = []
            for raw in re.split(r"\n\s*\n", documents[name].replace("\r\n", "\n")):
                text = " ".join(" ".join(line for line in raw.split("\n") if not RULE.fullmatch(line)).split())
                if text and text not in seen:
                    seen.add(text)
                    paragraphs.append(text)
            self.documents[name] = paragraphs
            digest.update(f"{name}\0{documents[name]}\0".encode())
        self.sha256 = digest.hexdigest()
        self.places = [(name, number) for name, paragraphs in self.documents.items() for number in range(len(paragraphs))]
        if not self.places:
            raise InputError("the corpus holds no paragraph")
        self._index = open_retriever([self.documents[name][number] for name, number in self.places])

    def ranked(self, query: str, top_k: int) -> list[tuple[str, int, float]]:
        """(document, paragraph, score) of the best paragraphs."""
        return [(*self.places[place], score) for place, score in self._index.search(query, top_k)]

    def local_search(self, query: str, top_k: int = 3) -> str:
        """The tool: paragraphs for a query, best first; a query in double quotes finds the exact text, in document order."""
        exact = re.fullmatch(r'"(.+)"', query.strip())
        if exact:
            hits = [(name, number) for name, number in self.places if mentions(self.documents[name][number], exact[1])]
            lines = [f"{len(hits)} paragraphs contain '{exact[1]}':"]
            lines += [f"[{name}#{number}] {self.documents[name][number]}" for name, number in hits[:top_k]]
        else:
            lines = [f"Results for '{query}':"]
            lines += [
                f"[{name}#{number}] (score {score}) {self.documents[name][number]}"
                for name, number, score in self.ranked(query, top_k)
            ]
        if len(lines) == 1:
            raise ToolError(f"nothing is found for {query[:200]!r}")
        return "\n".join(lines)

    def local_read(self, doc_id: str, find: str = "") -> str:
        """The tool: a document's paragraphs, all or those that contain a text."""
        if doc_id not in self.documents:
            raise ToolError(
                f"there is no document '{doc_id}'; search first and use a name in square brackets, without the number"
            )
        found = [(number, text) for number, text in enumerate(self.documents[doc_id]) if not find or mentions(text, find)]
        if not found:
            raise ToolError(f"no paragraph of '{doc_id}' contains '{find}'")
        head = f"Document '{doc_id}', {len(found)} paragraphs{f' that contain {find!r}' if find else ''}:"
        return "\n".join([head, *(f"[{doc_id}#{number}] {text}" for number, text in found)])


def mentions(text: str, term: str) -> bool:
    """Whether a term stands in a text as a whole: not as part of a longer name or number."""
    return term in text and re.search(rf"(?<![\w.]){re.escape(term)}(?!\w|\.\d)", text) is not None


def paragraphs_in(observation: str) -> list[tuple[str, int, str]]:
    """(document, paragraph, text) of what a search or a read has shown."""
    found = []
    for line in observation.splitlines()[1:]:
        match = re.match(r"\[(.+?)#(\d+)\] (?:\(score [\d.]+\) )?(.*)", line)
        if match:
            found.append((match[1], int(match[2]), match[3]))
    return found
