"""What a model wrote while it was thinking, separated from its answer, where a server leaves both in one text.

Covers: pairs of marks (`<think>`, `<thinking>`, `<reasoning>`, `[THINK]`, `<|begin_of_thought|>` and others), a closing mark
whose opening one stands in the prompt's template, an opening mark without an end (the thinking broke off), and channels as
gpt-oss writes them, also where the decoder has dropped the special tokens around the channels' names.
Does not cover: thinking in plain prose without any mark.
"""

from __future__ import annotations

import re

_NAMES = r"(?:[\w:]*(?:think|thought|reason|reflecti|analysis|scratchpad|deliberat|monologue)\w*|plan)"
_LESS, _MORE = r"(?:<|&lt;)\s*", r"\s*(?:>|&gt;)"
_OPENS = (
    rf"{_LESS}{_NAMES}(?:\s[^<>&]*)?{_MORE}",
    r"\[THINK\]",
    r"◁think▷",
    r"<\|(?:begin|start)_(?:of_)?(?:thought|thinking|reasoning)\|>",
    r"<\|(?:thought|thinking|reasoning)_(?:begin|start)\|>",
    r"<\|START_THINKING\|>",
    r"<\|inner_prefix\|>",
    r"<\|channel>\s*thought",
    r"\A\s*Here is my thought process:",
)
_CLOSES = (
    rf"{_LESS}/\s*{_NAMES}{_MORE}",
    r"\[/THINK\]",
    r"◁/think▷",
    r"<\|end_(?:of_)?(?:thought|thinking|reasoning)\|>",
    r"<\|(?:thought|thinking|reasoning)_end\|>",
    r"<\|END_THINKING\|>",
    r"<\|inner_suffix\|>",
    r"<channel\|>",
    r"\[BEGIN FINAL RESPONSE\]",
    r"^Here is my response:",
)
_MARK = re.compile(rf"(?P<opens>{'|'.join(_OPENS)})|(?P<closes>{'|'.join(_CLOSES)})", re.IGNORECASE | re.MULTILINE)
_CHANNEL = re.compile(r"<\|channel\|>\s*(?P<name>\w+)[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>")
_BARE_CHANNEL = re.compile(r"\A\s*(?:assistant)?analysis.*assistant\s*final", re.DOTALL)


def first_mark(text: str) -> int | None:
    """Where the first mark of thinking stands; None when there is none."""
    places = [found.start() for found in (_MARK.search(text), _CHANNEL.search(text), _BARE_CHANNEL.match(text)) if found]
    return min(places, default=None)


def without_thoughts(text: str) -> str:
    """`text` without what was written while thinking; "" when nothing else was written."""
    channels = list(_CHANNEL.finditer(text))
    if channels:
        last = channels[-1]
        return text[last.end() :] if last["name"].lower() == "final" else ""
    bare = _BARE_CHANNEL.match(text)
    if bare is not None:
        return text[bare.end() :]
    kept: list[str] = []
    end, depth = 0, 0
    for mark in _MARK.finditer(text):
        if mark["opens"]:
            if not depth:
                kept.append(text[end : mark.start()])
            depth = 1  # a mark that is named within the thoughts opens nothing more
        else:
            if not depth:  # the opening mark stood in the prompt: all before was thinking
                kept.clear()
            depth = 0
            end = mark.end()
    if not depth:
        kept.append(text[end:])
    return "".join(kept)
