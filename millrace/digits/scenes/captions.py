"""A short true caption for a digit scene, in the shape of the original's `conversations` column."""

from __future__ import annotations

from random import Random

from millrace.digits.scenes.scene import Scene, SceneDigit

NUMBERS = ("No", "One", "Two", "Three", "Four", "Five", "Six")

REQUESTS = (
    "Describe the picture.",
    "What can be seen here?",
    "Say in one sentence what this picture shows.",
    "What is written on the page?",
)

TURNS = ("", "turned clockwise", "upside down", "turned counter-clockwise")
"""What a quarter-turn is called, by its number."""


def converse(scene: Scene, rng: Random) -> list[dict[str, str]]:
    """One exchange: a request, and a caption that the annotation makes true."""
    return [{"assistant": caption(scene), "usr": rng.choice(REQUESTS)}]


def caption(scene: Scene) -> str:
    """What the scene shows, digit by digit in reading order."""
    if not scene.digits:
        return "A sheet of paper with no digit on it."
    ordered = sorted(scene.digits, key=lambda digit: (digit.box[1] * 3 // scene.height, digit.box[0]))
    words = [_digit(digit) for digit in ordered]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    count = len(words)
    return f"{NUMBERS[count] if count < len(NUMBERS) else count} handwritten digit{'s' if count > 1 else ''} on paper: {listed}."


def _digit(digit: SceneDigit) -> str:
    turn = f" {TURNS[digit.turn]}" if digit.turn else ""
    return f"a {digit.size} {digit.colour} {digit.label}{turn}"
