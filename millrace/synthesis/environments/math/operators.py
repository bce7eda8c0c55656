"""What a program can ask of numbers: operators over exact integers and fractions, each one call of `calculator` or `cas`.

An operator has the range of inputs within which its tool is quick and its independent verification (brute force, as a rule) is
quick too. Modules of the verifier never import this file, nor this file theirs.
"""

# ruff: noqa: E501 - the tables read best with one operator's two wordings on a line each, and Chinese counts double

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from millrace.synthesis.environments import Constants, Operator, Value, result_of
from millrace.synthesis.environments.math.cas import call_text

PRIMES = (97, 101, 103, 211, 307, 401, 499, 503, 601, 701, 809, 907, 997, 1009, 1103, 1201, 1301, 1409, 1511, 1601, 1709, 1901)
"""Moduli: large enough that remainders seldom repeat."""

Draw = Callable[[random.Random, int], Constants]
Say = tuple[str, str]


def _operator(name: str, low: int, high: int, say: Say, draw: Draw, **how: Any) -> Operator:
    def constants(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        return draw(rng, values[-1]) if low <= values[-1] <= high else None

    return Operator(name=name, takes="integer", draw=constants, en=say[0], zh=say[1], **how)


def calculated(
    name: str, low: int, high: int, expression: str, say: Say, draw: Draw = lambda rng, x: {}, gives: str = "integer"
) -> Operator:
    """An operator whose result is one calculator expression in `{x}` and its constants."""

    def filled(args: Mapping[str, Any], values: Sequence[Value]) -> str:
        return expression.format(x=values[-1], **args)

    def read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> Value:
        said = result_of(text, filled(args, values))
        return _integer(said) if gives == "integer" else str(Fraction(said))

    return _operator(
        name, low, high, say, draw, gives=gives, tool="calculator",
        act=lambda args, values: {"expressions": [filled(args, values)]}, read=read,
    )  # fmt: skip


def algebraic(
    name: str,
    low: int,
    high: int,
    build: Callable[..., dict[str, int | list[int] | list[list[int]]]],
    say: Say,
    draw: Draw = lambda rng, x: {},
) -> Operator:
    """An operator whose result is one call of the computer algebra tool; `build` makes the call's arguments."""

    def read(args: Mapping[str, Any], values: Sequence[Value], text: str) -> Value:
        return _integer(result_of(text, call_text(name, build(values[-1], **args))))

    return _operator(
        name, low, high, say, draw, gives="integer", tool="cas",
        act=lambda args, values: {"operation": name, "arguments": build(values[-1], **args)}, read=read,
    )  # fmt: skip


def _integer(said: str) -> int:
    number = int(said)
    if abs(number) >= 2**53:
        raise ValueError(f"{said} is too large for a JSON number")
    return number


def _modulus(rng: random.Random, x: int) -> Constants:
    return {"m": rng.choice(PRIMES)}


def _coprime(rng: random.Random, x: int) -> Constants:
    return {"m": rng.choice([m for m in PRIMES if x % m > 1])}


def _small(*names: str, low: int = 2, high: int = 9) -> Draw:
    return lambda rng, x: {name: rng.randint(low, high) for name in names}


OPERATORS = [
    calculated(
        "mod_power", 2, 20_000, "pow({b}, {x}, {m})",
        ("the remainder of {b} to the power {x} divided by {m}", "{b} 的 {x} 次方除以 {m} 的余数"),
        lambda rng, x: {"b": rng.choice((2, 3, 5, 6, 7, 10, 11, 12)), "m": rng.choice(PRIMES)},
    ),
    calculated(
        "linear", 2, 200_000, "{p} * {x} + {q}",
        ("{p} times {x}, plus {q}", "{x} 的 {p} 倍加 {q}"),
        lambda rng, x: {"p": rng.randint(3, 12), "q": rng.randint(1, 99)},
    ),
    calculated(
        "least_common_multiple", 5, 100_000, "lcm({x}, {k})",
        ("the least common multiple of {x} and {k}", "{x} 与 {k} 的最小公倍数"),
        lambda rng, x: {"k": rng.choice([k for k in range(6, 60) if x % k])},
    ),
    calculated(
        "plus_common_divisor", 12, 100_000, "{x} + gcd({x}, {k})",
        ("{x} plus the greatest common divisor of {x} and {k}", "{x} 加上 {x} 与 {k} 的最大公约数"),
        lambda rng, x: {"k": rng.randint(12, 360)},
    ),
    calculated(
        "choose_mod", 6, 120, "comb({x}, {k}) % {m}",
        ("the remainder, divided by {m}, of the number of ways to choose {k} out of {x} things",
         "从 {x} 个物体中取 {k} 个的取法数除以 {m} 的余数"),
        lambda rng, x: {"k": rng.randint(2, 5), "m": rng.choice(PRIMES)},
    ),
    calculated(
        "digits_of_power", 3, 10**9, "digit_sum({x} ** {p})",
        ("the sum of the decimal digits of {x} to the power {p}", "{x} 的 {p} 次方的各位数字之和"), _small("p", low=3, high=7),
    ),
    calculated(
        "sum_to", 3, 3_000, "{x} * ({x} + 1) / 2",
        ("the sum of all integers from 1 to {x}", "从 1 到 {x} 的所有整数之和"),
    ),
    calculated(
        "triples", 3, 200, "comb({x} + 2, 2)",
        ("the number of ways to write {x} as an ordered sum of three non-negative integers",
         "把 {x} 写成三个非负整数的有序和的方法数"),
    ),
    calculated(
        "inverse", 2, 10**9, "pow({x}, -1, {m})",
        ("the inverse of {x} modulo {m} (between 1 and {m} - 1)", "{x} 模 {m} 的乘法逆元（取 1 到 {m} - 1）"), _coprime,
    ),
    calculated(
        "scaled_remainder", 2, 10**12, "({k} * {x}) % {m}",
        ("the remainder of {k} times {x} divided by {m}", "{k} 乘以 {x} 再除以 {m} 的余数"),
        lambda rng, x: {"k": rng.randint(3, 40), **_coprime(rng, x)},
    ),
    calculated(
        "sum_of_reciprocals", 3, 5_000, "1 / {x} + 1 / {k}",
        ("the sum of the reciprocals of {x} and {k} as a fraction in lowest terms", "{x} 与 {k} 的倒数之和（最简分数）"),
        lambda rng, x: {"k": rng.choice([k for k in range(3, 40) if k != x])}, gives="fraction",
    ),
    calculated(
        "largest_residue", 5, 10**9, "max({x} % {m}, 2 * {x} % {m}, 3 * {x} % {m}, 4 * {x} % {m}, 5 * {x} % {m})",
        ("the largest number in the list of the remainders of {x}, 2{x}, 3{x}, 4{x} and 5{x} divided by {m}",
         "{x}、2{x}、3{x}、4{x}、5{x} 分别除以 {m} 的余数所成列表中的最大数"), _coprime,
    ),
    algebraic(
        "prime_count", 12, 20_000, lambda x: {"n": x},
        ("the number of primes not exceeding {x}", "不超过 {x} 的质数的个数"),
    ),
    algebraic("nth_prime", 3, 2_500, lambda x: {"n": x}, ("the prime number with index {x} (2 has index 1)", "第 {x} 个质数（2 为第 1 个）")),
    algebraic("divisor_sum", 6, 30_000, lambda x: {"n": x}, ("the sum of the positive divisors of {x}", "{x} 的所有正因数之和")),
    algebraic(
        "totient", 7, 20_000, lambda x: {"n": x},
        ("the number of integers from 1 to {x} that are coprime to {x}", "1 到 {x} 中与 {x} 互质的整数的个数"),
    ),
    algebraic(
        "largest_prime_factor", 30, 10**6, lambda x: {"n": x}, ("the largest prime factor of {x}", "{x} 的最大质因数"),
    ),
    algebraic(
        "fibonacci_mod", 9, 3_000, lambda x, m: {"n": x, "modulus": m},
        ("the remainder, divided by {m}, of the Fibonacci number with index {x} (indices 1 and 2 are both 1)",
         "第 {x} 个斐波那契数（第 1、2 个均为 1）除以 {m} 的余数"), _modulus,
    ),
    algebraic(
        "partitions", 6, 60, lambda x: {"n": x},
        ("the number of ways to write {x} as a sum of positive integers, regardless of order", "把 {x} 写成正整数之和的方法数（不计次序）"),
    ),
    algebraic(
        "power_sum_of_roots", 5, 90, lambda x, c, power: {"coefficients": [1, -x, -c], "power": power},
        ("the sum of the powers with exponent {power} of the two roots of t^2 - {x}t - {c} = 0",
         "方程 t^2 - {x}t - {c} = 0 的两个根的 {power} 次方之和"),
        lambda rng, x: {"c": rng.randint(1, 30), "power": rng.choice((2, 3))},
    ),
    algebraic(
        "discriminant", 3, 3_000, lambda x, p, c: {"coefficients": [p, x, -c]},
        ("the discriminant of {p}t^2 + {x}t - {c}", "二次式 {p}t^2 + {x}t - {c} 的判别式"),
        lambda rng, x: {"p": rng.randint(2, 9), "c": rng.randint(1, 40)},
    ),
    algebraic(
        "integral", 2, 80, lambda x, p, q: {"coefficients": [3 * p, 2 * q, 0], "low": 0, "high": x},
        ("the integral from 0 to {x} of 3 * {p} * t^2 + 2 * {q} * t", "3 * {p} * t^2 + 2 * {q} * t 从 0 到 {x} 的定积分"), _small("p", "q"),
    ),
    algebraic(
        "derivative_at", 4, 900, lambda x, k: {"coefficients": [1, k, 0, 0], "at": x},
        ("the derivative of t^3 + {k}t^2 at t = {x}", "t^3 + {k}t^2 在 t = {x} 处的导数"), _small("k"),
    ),
    algebraic(
        "determinant", 4, 90, lambda x, p, q, r: {"rows": [[x, p, q], [r, x, p], [q, r, x]]},
        ("the determinant of the matrix with the rows ({x}, {p}, {q}), ({r}, {x}, {p}), ({q}, {r}, {x})",
         "以 ({x}, {p}, {q})、({r}, {x}, {p})、({q}, {r}, {x}) 为行的矩阵的行列式"), _small("p", "q", "r", high=6),
    ),
    algebraic(
        "triangle_area_doubled", 6, 60, lambda x, p, q: {"points": [[0, 0], [x, p], [q, x]]},
        ("twice the area of the triangle with the corners (0, 0), ({x}, {p}) and ({q}, {x})",
         "以 (0, 0)、({x}, {p})、({q}, {x}) 为顶点的三角形面积的两倍"), _small("p", "q", low=1, high=5),
    ),
    algebraic(
        "sum_of_powers", 4, 150, lambda x, power: {"n": x, "power": power},
        ("the sum of the powers with exponent {power} of the integers from 1 to {x}", "从 1 到 {x} 的各整数的 {power} 次方之和"),
        lambda rng, x: {"power": rng.choice((2, 3))},
    ),
]  # fmt: skip
"""All operators on integers."""


def _from_fraction() -> Operator:
    expression = "numerator({x}) + denominator({x})"
    return Operator(
        name="top_plus_bottom", takes="fraction", gives="integer", tool="calculator", draw=lambda rng, values: {},
        act=lambda args, values: {"expressions": [expression.format(x=values[-1])]},
        read=lambda args, values, text: _integer(result_of(text, expression.format(x=values[-1]))),
        en="the numerator plus the denominator of {x}", zh="{x} 的分子与分母之和",
    )  # fmt: skip


def _with_earlier() -> Operator:
    expression = "({x} * {earlier}) % {m}"

    def draw(rng: random.Random, values: Sequence[Value]) -> Constants | None:
        places = [place for place, value in enumerate(values[:-1]) if isinstance(value, int) and abs(value) > 1]
        moduli = [m for m in PRIMES if values[-1] % m > 1]
        return {"other": rng.choice(places), "m": rng.choice(moduli)} if places and values[-1] > 1 and moduli else None

    def filled(args: Mapping[str, Any], values: Sequence[Value]) -> str:
        return expression.format(x=values[-1], earlier=values[args["other"]], m=args["m"])

    return Operator(
        name="product_with_earlier", takes="integer", gives="integer", tool="calculator", draw=draw,
        act=lambda args, values: {"expressions": [filled(args, values)]},
        read=lambda args, values, text: _integer(result_of(text, filled(args, values))),
        en="the remainder of {x} times {other} divided by {m}", zh="{x} 乘以 {other} 再除以 {m} 的余数",
    )  # fmt: skip


TABLE: dict[str, Operator] = {operator.name: operator for operator in [*OPERATORS, _from_fraction(), _with_earlier()]}
"""Name → operator."""
