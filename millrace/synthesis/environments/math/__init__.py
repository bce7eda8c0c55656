"""Exact mathematics: a calculator and a computer algebra tool; answers proven by plain Python."""

from __future__ import annotations

import importlib.metadata
import random
import re
from typing import Any

from millrace.config import Settings
from millrace.synthesis.environments import Start, Tool
from millrace.synthesis.environments.math.calculator import FUNCTIONS, calculator
from millrace.synthesis.environments.math.cas import OPERATIONS, cas
from millrace.synthesis.environments.math.operators import TABLE
from millrace.synthesis.environments.math.verifier import MathVerifier

TOPICS: dict[str, tuple[str, ...]] = {
    "prime|divisor|factor|totient|number theory|质数|素数|因数|因子|数论|互质": (
        "prime_count", "nth_prime", "divisor_sum", "totient", "largest_prime_factor", "least_common_multiple"),
    "modul|remainder|congruen|inverse|cryptograph|余数|同余|模|密码": ("mod_power", "inverse", "scaled_remainder", "choose_mod"),
    "fibonacci|sequence|series|recurrence|斐波那契|数列|级数|递推": ("fibonacci_mod", "sum_to", "sum_of_powers"),
    "quadratic|root|equation|polynomial|discriminant|vieta|二次|方程|多项式|判别式|韦达": ("power_sum_of_roots", "discriminant"),
    "deriv|slope|tangent|calculus|integral|area under|导数|切线|微积分|积分": ("derivative_at", "integral"),
    "matri|determinant|linear algebra|矩阵|行列式|线性代数": ("determinant", "linear"),
    "triangle|circle|square|polygon|geometr|area|三角|圆|正方形|多边形|几何|面积": ("triangle_area_doubled", "discriminant"),
    "choos|combin|permut|count|partition|probab|ways|组合|排列|计数|分拆|概率|方法数": ("choose_mod", "triples", "partitions"),
    "fraction|ratio|reciproc|harmonic|分数|比例|倒数|调和": ("sum_of_reciprocals",),
    "sort|list|filter|largest|maximum|排序|列表|过滤|最大": ("largest_residue", "linear"),
    "digit|decimal|power|数字|十进制|幂": ("digits_of_power", "mod_power"),
}  # fmt: skip
"""What a seed may speak of (English and Chinese word stems) → the operators that fit."""

FRAMES = {
    "en": {
        "start": "Let {v} = {value}.",
        "hop": "Let {v} be {phrase}.|Write {v} for {phrase}.",
        "ask": "What is {v}?|Find {v}.|Determine the value of {v}.",
    },
    "zh": {
        "start": "设 {v} = {value}。",
        "hop": "设 {v} 为{phrase}。|记 {v} 为{phrase}。",
        "ask": "求 {v} 的值。|{v} 等于多少？",
    },
}


class Options(Settings):
    """The environment's own settings (`environment_kwargs`)."""

    largest_start: int = 60
    """The largest number a question starts from when the seed names none."""


class MathEnvironment:
    """Numbers, exact throughout."""

    name = "math"
    concurrent = False
    operators = TABLE
    frames = FRAMES

    def __init__(self, options: Options) -> None:
        self.options = options
        self.verifier = MathVerifier()
        self.versions = {"calculator": "1", "cas": f"sympy {importlib.metadata.version('sympy')}"}
        self.tools = {
            "calculator": Tool(
                name="calculator",
                description="Exact arithmetic. Operators + - * / // % **; functions " + ", ".join(sorted(FUNCTIONS)) + ".",
                parameters={
                    "type": "object",
                    "properties": {"expressions": {"type": "array", "items": {"type": "string"}, "minItems": 1}},
                    "required": ["expressions"],
                    "additionalProperties": False,
                },
                call=calculator,
            ),
            "cas": Tool(
                name="cas",
                description="Computer algebra on integers. Operations: "
                + "; ".join(f"{name}({', '.join(limits)})" for name, (limits, _) in sorted(OPERATIONS.items())),
                parameters={
                    "type": "object",
                    "properties": {"operation": {"enum": sorted(OPERATIONS)}, "arguments": {"type": "object"}},
                    "required": ["operation", "arguments"],
                    "additionalProperties": False,
                },
                call=cas,
            ),
        }

        self.replay_tools = self.tools

    def start(self, seed: str, rng: random.Random) -> Start:
        """A number: the first one of a handy size in the seed, else one drawn; the seed's words choose the topic."""
        stated = [int(digits) for digits in re.findall(r"\d{1,3}", seed) if 5 <= int(digits) <= 100]
        drawn = rng.randint(7, max(8, self.options.largest_start))
        prefer: list[str] = []
        for pattern, operators in TOPICS.items():
            if re.search(pattern, seed, re.IGNORECASE):
                prefer += operators
        return Start(
            kind="integer",
            value=stated[0] if stated else drawn,
            match="keyword" if prefer else "fallback",
            prefer=tuple(prefer),
        )

    def close(self) -> None:
        """Nothing to let go of."""


def open_environment(**options: Any) -> MathEnvironment:
    """The math environment."""
    return MathEnvironment(Options(**options))
