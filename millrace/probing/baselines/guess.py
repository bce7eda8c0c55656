"""A baseline that never looks: it draws one of the allowed answers by the words of the claim and the picture's own hash.

What a model gets right no more often than this baseline, it does not see. It also fails at claims of every kind on pictures
of any kind, so that questions can be written about a data set before there is a model to test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from millrace.config import Settings
from millrace.probing.baselines import ClaimPrompt, Completion, Question
from millrace.probing.claims import fill
from millrace.run.ids import content_id, fraction_for

if TYPE_CHECKING:
    from PIL import Image


class BaselineSettings(Settings):
    """Answers drawn without looking."""

    name: Literal["guess"] = "guess"
    """Which baseline."""
    free: Mapping[str, tuple[str, ...]] = {
        "COUNT": ("1", "2", "3", "4", "5"),
        "PROPORTION": ("1%", "2%", "4%", "8%", "16%", "32%"),
    }
    """By slot: what is drawn from where the claim allows any words. A slot that is not here is answered with "thing"."""
    seed: int = 0
    """Another seed draws other answers."""


class GuessBaseline:
    """Draws answers. The same picture and words always get the same."""

    name = "guess"

    def __init__(self, settings: BaselineSettings) -> None:
        self._settings = settings
        self.fingerprint = content_id("guess", settings.model_dump(mode="json"))

    def complete(self, image: Image.Image, prompts: Sequence[ClaimPrompt]) -> list[Completion | Exception]:
        """One reply per prompt, in order."""
        picture = sha256(image.tobytes()).hexdigest()
        return [self._complete(picture, prompt) for prompt in prompts]

    def answer(self, image: Image.Image, questions: Sequence[Question]) -> list[str]:
        """Per question the key of an option; "1" where there is none."""
        picture = sha256(image.tobytes()).hexdigest()
        return [self._draw(list(question.options) or ["1"], picture, question.text) for question in questions]

    def _complete(self, picture: str, prompt: ClaimPrompt) -> Completion:
        values = {}
        for slot, allowed in prompt.slots.items():
            choice = list(allowed) or list(self._settings.free.get(slot, ("thing",)))
            values[slot] = self._draw(choice, picture, prompt.text, slot)
        return Completion(True, values, fill(prompt.text, values), "I did not look.")

    def _draw(self, choice: Sequence[str], *words: str) -> str:
        return choice[int(fraction_for(self._settings.seed, *words) * len(choice))]


def open_baseline(settings: BaselineSettings, *, device: str = "cpu") -> GuessBaseline:
    """The baseline; the device does not matter."""
    del device
    return GuessBaseline(settings)
