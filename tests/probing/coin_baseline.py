"""A baseline that tosses coins: for tests of everything around a model. The same image and prompt always fall the same way."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from millrace.config import Settings
from millrace.probing.baselines import ClaimPrompt, Completion, Question


class BaselineSettings(Settings):
    name: str = "tests.probing.coin_baseline"
    raises_on: tuple[str, ...] = ()
    """Claim ids whose prompts break."""
    always_abstains: bool = False
    kill_once: str = ""
    """A file: the first rank to answer after it is gone from there removes it and kills itself."""
    slow_s: float = 0.0


class CoinBaseline:
    name = "coin"
    fingerprint = "coin-1"

    def __init__(self, settings: BaselineSettings) -> None:
        self.settings = settings

    def complete(self, image: Image.Image, prompts: Sequence[ClaimPrompt]) -> list[Completion | Exception]:
        self._misbehave()
        pixels = hashlib.sha256(image.tobytes()).digest()
        return [self._complete(pixels, prompt) for prompt in prompts]

    def answer(self, image: Image.Image, questions: Sequence[Question]) -> list[str]:
        pixels = hashlib.sha256(image.tobytes()).digest()
        keys = [list(question.options) or ["3"] for question in questions]
        return [keys[_toss(pixels, question.text, len(keys))] for question, keys in zip(questions, keys, strict=True)]

    def _complete(self, pixels: bytes, prompt: ClaimPrompt) -> Completion | Exception:
        if prompt.claim_id in self.settings.raises_on:
            return RuntimeError("CUDA out of memory")
        if self.settings.always_abstains or _toss(pixels, prompt.text, 6) == 0:
            return Completion(related=False, values={}, text="NOT_RELATED")
        allowed = {slot: values or ["7"] for slot, values in prompt.slots.items()}
        values = {slot: words[_toss(pixels, prompt.text + slot, len(words))] for slot, words in allowed.items()}
        return Completion(related=True, values=values, text=prompt.text, confidence=0.5)

    def _misbehave(self) -> None:
        if self.settings.slow_s:
            import time

            time.sleep(self.settings.slow_s)
        if self.settings.kill_once:
            try:
                Path(self.settings.kill_once).unlink()
            except FileNotFoundError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


def _toss(pixels: bytes, text: str, sides: int) -> int:
    return int.from_bytes(hashlib.sha256(pixels + text.encode()).digest()[:4], "big") % sides


def open_baseline(settings: BaselineSettings, *, device: str = "cpu") -> CoinBaseline:
    return CoinBaseline(settings)
