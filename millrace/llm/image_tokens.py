"""How many prompt tokens a picture takes, by its size and the model's family: an estimate from what the makers publish.

OpenAI https://platform.openai.com/docs/guides/images-vision, Google https://ai.google.dev/gemini-api/docs/tokens, Anthropic
https://docs.claude.com/en/docs/build-with-claude/vision; open models count a token per patch of their processor.
"""

from __future__ import annotations

import math
import re

PATCH, MERGED_PATCH = 28, 32
"""Pixels per token and side: Qwen2.5-VL and most others, Qwen3-VL."""

TILED = {
    r"gpt-4o-mini": (2833, 5667),
    r"gpt-5(?!.*(mini|nano))": (70, 140),
    r"o[13]\b": (75, 150),
    r"gpt-4|chatgpt": (85, 170),
}
"""OpenAI's tiles of 512 pixels: tokens for the picture and for each tile."""

PATCHED = {r"(gpt-4\.1|gpt-5)[^/]*mini": 1.62, r"(gpt-4\.1|gpt-5)[^/]*nano": 2.46, r"o4-mini": 1.72}
"""OpenAI's patches of 32 pixels, at most 1536, times a factor."""

GEMINI_TILE, GEMINI_3 = 258, 1120
CLAUDE_PIXELS, CLAUDE_SIDE = 750, 1568


def image_tokens(width: int, height: int, model: str = "") -> int:
    """Prompt tokens of a picture, roughly."""
    name = model.rpartition("/")[2].lower()
    for pattern, factor in PATCHED.items():
        if re.match(pattern, name):
            return math.ceil(min(1536, _patches(width, height, 32)) * factor)
    for pattern, (base, tile) in TILED.items():
        if re.match(pattern, name):
            return base + tile * _openai_tiles(width, height)
    if name.startswith("gemini-"):
        if re.match(r"gemini-([3-9]|\d\d)", name):
            return GEMINI_3
        small = max(width, height) <= 384
        return GEMINI_TILE if small else GEMINI_TILE * _gemini_tiles(width, height)
    if name.startswith("claude"):
        scale = min(1.0, CLAUDE_SIDE / max(width, height))
        return max(1, round(width * scale * height * scale / CLAUDE_PIXELS))
    return _patches(width, height, MERGED_PATCH if "qwen3" in name else PATCH)


def _patches(width: int, height: int, side: int) -> int:
    return max(1, math.ceil(width / side)) * max(1, math.ceil(height / side))


def _openai_tiles(width: int, height: int) -> int:
    """Within 2048 pixels, then the shorter side at most 768, then tiles of 512."""
    scale = min(1.0, 2048 / max(width, height))
    scale *= min(1.0, 768 / (min(width, height) * scale))
    return _patches(round(width * scale), round(height * scale), 512)


def _gemini_tiles(width: int, height: int) -> int:
    unit = max(256, min(768, math.floor(min(width, height) / 1.5)))
    return _patches(width, height, unit)
