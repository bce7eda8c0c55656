"""Finds the answer in what a model writes: one candidate, the last that is marked as final, else the whole text.

Marks, strongest first: `<answer>…</answer>`, `\\boxed{…}`, `#### …`, "final answer: …", "the answer is …" (also in Chinese).
Taking only one candidate is the point: a text that names two answers is not paid for holding the right one among them. Every
step is linear in the length of the text, whatever it holds.
"""

from __future__ import annotations

import re

TAGS = ("answer", "final_answer", "final")
THOUGHTS = ("think", "thinking", "reasoning")
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
HASHES = re.compile(r"^\s*####\s*(.+?)\s*$", re.MULTILINE)
SAID = re.compile(
    r"(?:\b(?:the\s+|my\s+|so\s+)*(?:final\s+|correct\s+)?(?:answer|result|solution|value)\b(?:\s+of\s+\S{1,20})?\W{0,4}?\s*(?:is\b|are\b|=|:|：)"
    r"|(?:最终|最后|正确)?(?:答案|结果)\s*(?:是|为|=|:|：))\s*[:：]?\s*(?P<said>[^\n]+)",
    re.IGNORECASE,
)
NAMED = re.compile(r"^\(?([A-Za-z])\)?\s*(?:=|:=|:|：|is\b|是|为)\s*(.+)$", re.DOTALL)
FENCE = re.compile(r"^```[a-z]*\n(.*?)\n?```$", re.DOTALL)
PAIRS = (
    ("**", "**"), ("__", "__"), ("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("`", "`"), ('"', '"'), ("'", "'"),
    ("“", "”"), ("‘", "’"), ("«", "»"), ("「", "」"), ("*", "*"), ("\\text{", "}"), ("\\textbf{", "}"), ("\\mathrm{", "}"),
    ("\\texttt{", "}"),
)  # fmt: skip
"""What may stand around an answer without being part of it."""


def candidates(text: str) -> list[str]:
    """Readings of the one answer that a text gives, the most literal first; empty for an empty text.

    All of them are the same piece of the text, with more and more of what stands around it taken off.
    """
    said, marked = _piece(text)
    found = [said]
    if marked and said[-1:] in ".。":
        found.append(said[:-1].rstrip())
    for piece in list(found):
        found += _bare(piece)
        named = NAMED.match(piece)
        if named:
            found += [named[2].strip(), *_bare(named[2].strip())]
    return [piece for piece in dict.fromkeys(found) if piece]


def _piece(text: str) -> tuple[str, bool]:
    """(the piece that is the answer, whether it was in running text)."""
    for tag in THOUGHTS:
        text = text.rpartition(f"</{tag}>")[2]
    for tag in TAGS:
        before, closed, _ = text.rpartition(f"</{tag}>")
        begin = before.rfind(f"<{tag}>")
        if closed and begin >= 0:
            inner = before[begin + len(tag) + 2 :].strip()
            return (_boxed(inner) or inner), False
    box = _boxed(text)
    if box is not None:
        return box, False
    hashes = HASHES.findall(text)
    if hashes:
        return hashes[-1], False
    said = list(SAID.finditer(text))
    if said:
        piece = said[-1]["said"].strip()
        return (piece.strip("*").strip() if piece.count("**") % 2 else piece), True  # half of the bold is around the words before
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    fence = FENCE.match(text.strip())
    if fence:
        return fence[1], False
    return (lines[-1], len(lines) > 1) if lines else ("", False)


def _boxed(text: str) -> str | None:
    """What stands in the last `\\boxed{…}`, braces balanced; None where there is none."""
    boxes = {match.end() - 1 for match in BOX.finditer(text)}
    found, opened = None, []
    for place, sign in enumerate(text if boxes else ""):
        if sign == "{":
            opened.append(place)
        elif sign == "}" and opened:
            begin = opened.pop()
            if begin in boxes:
                found = text[begin + 1 : place].strip()
    return found


def _bare(piece: str) -> list[str]:
    """The piece without one after the other of the pairs of signs around it."""
    found = []
    again = True
    while again:
        again = False
        for left, right in PAIRS:
            inner = piece[len(left) : len(piece) - len(right)]
            if len(piece) > len(left) + len(right) and piece.startswith(left) and piece.endswith(right) and left not in inner:
                piece, again = inner.strip() if left != "`" else inner, True
                found.append(piece)
                break
    return found
