"""The embedded baseline: a small vision-language model that is trained on the spot and has real weaknesses.

It has seen few, large, mostly upright digits in good light (`millrace.digits.scenes.recipes.NARROW`), and what lies outside of
that it sees badly. It reads English only; words it has not learned are skipped. Needs no network, no key and no GPU.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from millrace.config import OPERATIONAL, Settings
from millrace.digits.baseline.choosing import choose_option, fill_slots, free_answer
from millrace.digits.baseline.inputs import number_words, open_text, shrink
from millrace.digits.baseline.statements import decide_statement
from millrace.digits.claim_vocabulary import COUNTS, DIGITS, NOT_RELATED, question_words
from millrace.lake.places import REGIONS
from millrace.probing.baselines import ClaimPrompt, Completion, Question
from millrace.probing.claims import fill
from millrace.run.ids import content_id

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from millrace.digits.baseline.model import SceneModel

NAMED_FROM = 0.25
"""Presence from which an object is named in an explanation."""


class BaselineSettings(Settings):
    """Which embedded model: the same settings and code give the same weights on the same machine."""

    name: Literal["embedded"] = "embedded"
    """Which baseline."""
    checkpoint: Path | None = None
    """Folder of a trained one to use; empty trains one on first use and keeps it in the cache folder."""
    claims: str = "default"
    """The claim set whose wordings it learns."""
    scenes: PositiveInt = 3000
    """Narrow scenes to learn from."""
    epochs: float = Field(default=3.5, gt=0)
    """How often the image encoder sees every scene."""
    reader_steps: PositiveInt = 420
    """Steps of 512 questions that the question reader learns for."""
    seed: int = 0
    """Seed of scenes, weights and order."""
    threads: int = Field(default=2, ge=1, le=2)
    """Cores to train on, 1 or 2; another number gives another model."""
    storage_reader: str = Field(default="millrace.checkpoint.reader.ParallelFileSystemReader", json_schema_extra=OPERATIONAL)
    """Dotted path of the torch.distributed.checkpoint storage reader that loads it."""


class EmbeddedBaseline:
    """A loaded model. One picture is looked at once; each prompt is then answered by itself, so that none depends on another."""

    name = "embedded"

    def __init__(self, model: SceneModel, words: Sequence[str], fingerprint: str, device: str) -> None:
        self.model = model
        self.fingerprint = fingerprint
        self.device = device
        self._numbers = {word: place for place, word in enumerate(words, start=1)}

    def complete(self, image: Image.Image, prompts: Sequence[ClaimPrompt]) -> list[Completion | Exception]:
        """One reply per prompt, in order."""
        objects = self._look(image)
        seen = describe(objects)
        replies: list[Completion | Exception] = []
        for prompt in prompts:
            try:
                replies.append(self._complete(objects, prompt, seen))
            except Exception as error:  # noqa: BLE001 - one prompt's failure becomes its record, the others are kept
                replies.append(error)
        return replies

    def answer(self, image: Image.Image, questions: Sequence[Question]) -> list[str]:
        """Per question the key of the likeliest option; without options the likeliest answer in words (`NOT_RELATED`: none)."""
        objects = self._look(image)
        return [self._answer(objects, question) for question in questions]

    def _complete(self, objects: Tensor, prompt: ClaimPrompt, seen: str) -> Completion:
        slots = list(prompt.slots)
        said = {slot: self._say(objects, question_words(open_text(prompt.text, slots, slot))) for slot in slots}
        values, confidence = fill_slots(prompt.slots, said)
        confidence = round(confidence, 4)
        if values is None:
            return Completion(False, {}, NOT_RELATED, seen, None, confidence)
        return Completion(True, values, fill(prompt.text, values), seen, None, confidence)

    def _answer(self, objects: Tensor, question: Question) -> str:
        words = question_words(question.text)
        firsts = {key: text.strip().lower()[:3].strip(" .,") for key, text in question.options.items()}
        if question.kind == "yes_no" or (firsts and set(firsts.values()) <= {"yes", "no"}):
            word = "yes" if decide_statement(words, lambda asked: self._say(objects, asked)) else "no"
            return next((key for key, first in firsts.items() if first == word), word)
        said = self._say(objects, words)
        return choose_option(question.options, said) if question.options else free_answer(said)

    def _look(self, image: Image.Image) -> Tensor:
        """The picture's object tokens."""
        import numpy as np
        import torch

        from millrace.digits.baseline.model import propose_objects

        pixels = torch.from_numpy(np.array(shrink(image, self.model.size.side)))[None].to(self.device)
        with torch.inference_mode():
            return propose_objects(self.model.encoder(pixels))

    def _say(self, objects: Tensor, words: Sequence[str]) -> list[float]:
        """Log-probabilities of all answers to one question."""
        import torch

        numbers = number_words(words, self._numbers, self.model.size.max_words)
        with torch.inference_mode():
            logits = self.model.reader(objects, torch.tensor([numbers], device=self.device))
            said: list[float] = logits.double().log_softmax(-1)[0].tolist()
        return said


def describe(objects: Tensor) -> str:
    """What the model sees, in a sentence: why it says what it says."""
    named = []
    for features in objects[0].tolist():
        presence, labels, colours, x, y = features[0], features[1:11], features[11:17], features[24], features[25]
        if presence >= NAMED_FROM:
            row, column = (min(2, max(0, int((place + 1) * 1.5))) for place in (y, x))
            label, colour = labels.index(max(labels)), colours.index(max(colours))
            named.append(f"{_colour(colour)} {DIGITS[label].removeprefix('digit ')} at {REGIONS[3 * row + column]}")
    if not named:
        return "I see no digit."
    number = str(len(named)) if str(len(named)) in COUNTS else "many"
    return f"I see {number}: {', '.join(named)}."


def _colour(place: int) -> str:
    from millrace.digits.scenes.scene import COLOURS

    return list(COLOURS)[place]


def preparation(settings: BaselineSettings) -> list[str] | None:
    """The command that trains the model, or None when it is there and whole.

    Raises:
        InputError: the settings name a checkpoint that is missing or damaged.
    """
    from millrace.digits.baseline.cache import find_trained

    if find_trained(settings) is not None:
        return None
    return [sys.executable, "-m", "millrace.digits.baseline.train_program", "--settings", settings.model_dump_json()]


def open_baseline(settings: BaselineSettings, *, device: str = "cpu") -> EmbeddedBaseline:
    """Load the model; it must have been trained before (see `preparation`).

    Raises:
        InputError: it was not, or its checkpoint is damaged.
    """
    import torch

    from millrace.digits.baseline.cache import trained_folder
    from millrace.digits.baseline.trained_folder import load_trained

    if device == "cpu":
        torch.set_num_threads(1)  # sums then have one order, however many ranks share the cores
    model, card = load_trained(trained_folder(settings), device=device, storage_reader=settings.storage_reader)
    return EmbeddedBaseline(model, card.words, content_id("embedded", card.weights, _ANSWERING), device)


_ANSWERING = 1
"""Raised when the same weights would answer differently: the rules in `choosing`, `statements` and here have changed."""
