"""Python itself: real code in a sandbox; answers proven by reference implementations that avoid the calls under test."""

from __future__ import annotations

import platform
import random
import re
from typing import Any

from millrace.config import Settings
from millrace.errors import ItemFailed
from millrace.synthesis.environments import Start, Tool, ToolError
from millrace.synthesis.environments.python.operators import TABLE
from millrace.synthesis.environments.python.sandbox import CallLimits, Sandbox
from millrace.synthesis.environments.python.verifier import PythonVerifier

FRAMES = {
    "en": {
        "start": "Let {v} be the Python string {value!r}.|Start from the Python string {v} = {value!r}.",
        "hop": "Let {v} be {phrase}.|Form {v}, {phrase}.",
        "ask": "What is {v}?|Give {v} exactly.|Determine {v}.",
    },
    "zh": {
        "start": "设 {v} 为 Python 字符串 {value!r}。",
        "hop": "设 {v} 为{phrase}。|再令 {v} 为{phrase}。",
        "ask": "{v} 是什么？|请准确写出 {v}。",
    },
}

TOPICS = {
    "sort|order|排序|次序": ("split_words", "distinct_characters"),
    "count|frequen|word|统计|频率|单词": ("split_words", "pieces"),
    "cipher|encrypt|secret|密码|加密": ("shift_letters", "base64_text", "rotate_text"),
    "revers|palindrom|倒序|回文": ("reverse_text", "rotate_text"),
    "hash|checksum|校验|哈希|encod|编码|byte|字节": ("base64_text", "hex_bytes", "pieces"),
}


class Options(Settings):
    """The environment's own settings (`environment_kwargs`)."""

    wall_s: int = 5
    """Seconds of wall clock for one call."""
    cpu_s: int = 3
    """Seconds of CPU for one call."""
    memory_mb: int = 512
    """Address space for one call."""
    namespaces: bool = True
    """Use the kernel's namespaces when it grants them; false leaves limits and the audit hook."""


class PythonEnvironment:
    """A sandboxed interpreter, and a second one for replays: another process with another hash seed."""

    name = "python"
    concurrent = False
    operators = TABLE
    frames = FRAMES

    def __init__(self, options: Options) -> None:
        limits = CallLimits(wall_s=options.wall_s, cpu_s=options.cpu_s, memory_bytes=options.memory_mb * 2**20)
        self._sandboxes = [Sandbox(limits, namespaces=options.namespaces) for _ in range(2)]
        self.verifier = PythonVerifier()
        self.tools = {"python_interpreter": interpreter(self._sandboxes[0])}
        self.replay_tools = {"python_interpreter": interpreter(self._sandboxes[1])}
        self.versions = {"python": platform.python_version(), "isolation": self._sandboxes[0].isolation}

    def start(self, seed: str, rng: random.Random) -> Start:
        """The seed's own text, on one line, at most 90 characters."""
        text = " ".join(seed.split())[:90].strip()
        if len(text) < 6 or not text.isprintable():
            raise ItemFailed("seed_too_short", f"a text of at least 6 printable characters is needed, not {text[:20]!r}")
        prefer = [name for pattern, names in TOPICS.items() if re.search(pattern, seed, re.IGNORECASE) for name in names]
        return Start(kind="text", value=text, match="text", prefer=tuple(prefer))

    def close(self) -> None:
        """End both interpreters."""
        for sandbox in self._sandboxes:
            sandbox.close()


def interpreter(sandbox: Sandbox) -> Tool:
    """The tool `python_interpreter` over a sandbox: one line per expression, as the calculator writes them."""

    def python_interpreter(expressions: list[str]) -> str:
        lines, failed = ["Results:"], 0
        results = sandbox.run(expressions)
        for expression, (error, text, printed) in zip(expressions, results, strict=True):
            failed += error
            lines.append(f"{expression} = {f'ERROR ({text})' if error else text}")
            if printed:
                lines.append(f"printed: {printed}")
        if failed == len(expressions):
            raise ToolError("\n".join(lines[1:]))
        return "\n".join(lines)

    return Tool(
        name="python_interpreter",
        description="Runs Python in a fresh sandbox without network or files; the last value of each entry is shown.",
        parameters={
            "type": "object",
            "properties": {
                "expressions": {"type": "array", "items": {"type": "string", "maxLength": 20_000}, "minItems": 1, "maxItems": 50}
            },
            "required": ["expressions"],
            "additionalProperties": False,
        },
        call=python_interpreter,
        contained=True,
    )


def open_environment(**options: Any) -> PythonEnvironment:
    """The python environment."""
    return PythonEnvironment(Options(**options))
