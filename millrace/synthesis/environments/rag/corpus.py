"""A folder of text, or the reference of Python that ships with this package, as documents of paragraphs with search over them.

Nothing is left out and nothing is merged: a paragraph belongs to every document that it stands in, and a line that only draws is
a line. What a paragraph is, and when a term is mentioned, each question says (`terms.RULES`).
"""

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
SHIPPED = Path(__file__).with_name("python_reference.json")
"""The topics of one release of Python's reference, with their licence: the same words whichever Python runs this."""

REFERENCE = "python-reference-"
"""How the name of a file with a release of Python's reference begins; its version follows."""

INSIDE = r"[^\W\u3040-\u30ff\u3400-\u9fff]"
"""A character that goes on with a word or number; Chinese and Japanese are written without gaps: theirs do not count."""

INSTALLED = "installed"
"""The name of the corpus that the running Python carries with it; it differs from one patch release to the next."""


def shipped_reference() -> tuple[str, dict[str, str]]:
    """(name, topic → raw text) of the reference that is part of this package (PSF licence, see the file)."""
    held = orjson.loads(SHIPPED.read_bytes())
    return held["name"], held["documents"]


def reference_in(path: Path) -> tuple[str, dict[str, str]] | None:
    """(name, topic → raw text) of a file with a release of Python's reference; None where it is another kind of file.

    Raises:
        InputError: it says that it is one, and its documents are not texts.
    """
    if path.suffix.lower() != ".json" or not path.is_file():
        return None
    try:
        held = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None  # said with its place by `read_folder`
    if not isinstance(held, dict) or not str(held.get("name", "")).startswith(REFERENCE) or "documents" not in held:
        return None
    documents = held["documents"]
    if not isinstance(documents, dict) or not documents or not all(isinstance(text, str) for text in documents.values()):
        raise InputError(f"{path}: `documents` of a reference must be an object of texts by topic")
    return held["name"], documents


def installed_reference() -> dict[str, str]:
    """Topic → raw text of the reference that the running Python carries (PSF licence)."""
    from pydoc_data.topics import topics

    return dict(topics)


def version_of(documents: Mapping[str, str]) -> str:
    """The SHA-256 of all names and texts: what a question about them is bound to."""
    digest = hashlib.sha256()
    for name in sorted(documents):
        digest.update(f"{name}\0{documents[name]}\0".encode())
    return digest.hexdigest()


def read_folder(folder: Path) -> dict[str, str]:
    """Document name → raw text of every text file below a folder; JSON records (`{"text": …}`) are documents of their own.

    Raises:
        InputError: there is no folder, no text in it, or two records with one name and different texts.
    """
    if not folder.exists():
        raise InputError(f"the corpus folder {folder} does not exist")
    found: dict[str, str] = {}
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.suffix.lower() in TEXT_FILES)
    for file in files:
        name = file.stem if folder.is_file() else file.relative_to(folder).with_suffix("").as_posix()
        text = file.read_bytes().decode("utf-8-sig", "replace")
        if file.suffix.lower() in (".jsonl", ".json"):
            for place, record in enumerate(_records(file, text)):
                _add(found, str(record.get("id") or record.get("title") or f"{name}-{place}"), str(record.get("text") or ""))
        else:
            _add(found, name if name not in found else file.relative_to(folder).as_posix(), text)
    found = {name: text for name, text in found.items() if text.strip()}
    if not found:
        raise InputError(f"{folder} holds no text (looked for {', '.join(sorted(TEXT_FILES))})")
    return found


def _add(found: dict[str, str], name: str, text: str) -> None:
    name = " ".join(name.replace("[", "(").replace("]", ")").replace("#", "-").split())  # `[name#3]` must stay readable
    if found.get(name, text) != text:
        raise InputError(f"two documents of the corpus are named '{name}'; give them different ids or titles")
    found[name] = text


def _records(file: Path, text: str) -> list[dict[str, object]]:
    if file.suffix.lower() == ".json":
        try:
            rows = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{file} is not JSON: {error}") from error
    else:
        rows = []
        for number, line in enumerate(text.split("\n"), 1):  # JSON may hold U+2028, which `splitlines` would cut at
            if line.strip():
                try:
                    rows.append(orjson.loads(line))
                except orjson.JSONDecodeError as error:
                    raise InputError(f"{file}, line {number}, is not JSON: {error}") from error
    rows = rows if isinstance(rows, list) else [rows]
    return [row if isinstance(row, dict) else {"text": row} for row in rows]


class Corpus:
    """Documents cut into paragraphs at lines without text; white space in a paragraph is shown as single spaces."""

    def __init__(self, documents: Mapping[str, str], open_retriever: Callable[[Sequence[str]], Retriever] = SearchIndex) -> None:
        self.documents: dict[str, list[str]] = {}
        for name in sorted(documents):
            blocks = re.split(r"\n[^\S\n]*(?:\n[^\S\n]*)+", documents[name].replace("\r\n", "\n").replace("\r", "\n"))
            self.documents[name] = [text for block in blocks if (text := " ".join(block.split()))]
        self.sha256 = version_of(documents)
        self.places = [(name, number) for name, paragraphs in self.documents.items() for number in range(len(paragraphs))]
        if not self.places:
            raise InputError("the corpus holds no paragraph")
        self._open_retriever = open_retriever
        self._index: Retriever | None = None

    def ranked(self, query: str, top_k: int) -> list[tuple[str, int, float]]:
        """(document, paragraph, score) of the best paragraphs."""
        if self._index is None:  # made by whoever searches first: only one of the processes that hold a corpus does
            self._index = self._open_retriever([self.documents[name][number] for name, number in self.places])
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
    """Whether a term stands in a text as a whole: not as part of a longer word or number."""
    return term in text and re.search(rf"(?<!{INSIDE}){re.escape(term)}(?!{INSIDE}|\.\d)", text) is not None


def paragraphs_in(observation: str) -> list[tuple[str, int, str]]:
    """(document, paragraph, text) of what a search or a read has shown."""
    found = []
    for line in observation.split("\n")[1:]:
        match = re.match(r"\[(.+?)#(\d+)\] (?:\(score [\d.]+\) )?(.*)", line)
        if match:
            found.append((match[1], int(match[2]), match[3]))
    return found
