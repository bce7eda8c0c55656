"""A number with its noun, as a plan, a bar or a message shows it: `1 machine`, `2 machines`."""

from __future__ import annotations


def counted(number: int, nouns: str) -> str:
    """`1 machine`, `1,234 parts scanned`.

    Args:
        number: how many; None is not for here: what is unknown has other words.
        nouns: in the plural, and regular: "machines", "failure ids", "parts scanned", "processes".
    """
    words = " ".join(_one(word) for word in nouns.split()) if number == 1 else nouns
    return f"{number:,} {words}"


def _one(word: str) -> str:
    if word.endswith(("sses", "xes")):
        return word.removesuffix("es")
    if word.endswith("ies"):
        return f"{word.removesuffix('ies')}y"
    return word.removesuffix("s")
