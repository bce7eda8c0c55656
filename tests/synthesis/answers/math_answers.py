"""The math preset's questions, computed from their words."""

# ruff: noqa: E501, PLW0108 - a phrase and how it is computed stand together; its groups are told by their names

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import cache
from typing import Any

from tests.synthesis.answers import chains
from tests.synthesis.answers.chains import n, v


@cache
def primes(limit: int) -> list[int]:
    return [p for p in range(2, limit + 1) if all(p % d for d in range(2, math.isqrt(p) + 1))]


@cache
def nth_prime(k: int) -> int:
    return next(itertools.islice((p for p in itertools.count(2) if all(p % d for d in range(2, math.isqrt(p) + 1))), k - 1, None))


def divisors(x: int) -> set[int]:
    return {e for d in range(1, math.isqrt(x) + 1) if x % d == 0 for e in (d, x // d)}


def largest_prime_factor(x: int) -> int:
    return max(d for d in divisors(x) if d > 1 and all(d % e for e in range(2, math.isqrt(d) + 1)))


@cache
def fibonacci(k: int) -> int:
    pair = (0, 1)
    for _ in range(k):
        pair = (pair[1], sum(pair))
    return pair[0]


@cache
def partitions(total: int, largest: int) -> int:
    if total == 0:
        return 1
    return sum(partitions(total - part, part) for part in range(1, min(total, largest) + 1))


def root_powers(x: int, c: int, power: int) -> int:
    """The powers of (x ± √d)/2 with d = x² + 4c: the irrational parts cancel."""
    d = x * x + 4 * c
    total = sum(math.comb(power, k) * x ** (power - k) * d ** (k // 2) for k in range(0, power + 1, 2))
    assert (2 * total) % 2**power == 0
    return 2 * total // 2**power


def integral(x: int, square: int, linear: int) -> int:
    found = Fraction(square, 3) * x**3 + Fraction(linear, 2) * x**2
    assert found.denominator == 1
    return int(found)


def determinant(x: int, p: int, q: int, r: int) -> int:
    (a, b, c), (d, e, f), (g, h, i) = (x, p, q), (r, x, p), (q, r, x)
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


EN = {
    rf"the remainder of {n('n1')} to the power {v()} divided by {n('n2')}": lambda n1, v, n2: pow(n1, v, n2),
    rf"{n('n1')} times {v()}, plus {n('n2')}": lambda n1, v, n2: n1 * v + n2,
    rf"the least common multiple of {v()} and {n()}": lambda v, n: math.lcm(v, n),
    rf"{v('v1')} plus the greatest common divisor of {v('v2')} and {n()}": lambda v1, v2, n: v1 + math.gcd(v2, n),
    rf"the remainder, divided by {n('n1')}, of the number of ways to choose {n('n2')} out of {v()} things": lambda n1, n2, v: math.comb(v, n2) % n1,
    rf"the sum of the decimal digits of {v()} to the power {n()}": lambda v, n: sum(map(int, str(v**n))),
    rf"the sum of all integers from 1 to {v()}": lambda v: v * (v + 1) // 2,
    rf"the number of ways to write {v()} as an ordered sum of three non-negative integers": lambda v: sum(v - first + 1 for first in range(v + 1)),
    rf"the inverse of {v()} modulo {n('n1')} \(between 1 and {n('n2')} - 1\)": lambda v, n1, n2: pow(v, -1, n1),
    rf"the remainder of {n('n1')} times {v()} divided by {n('n2')}": lambda n1, v, n2: n1 * v % n2,
    rf"the remainder of {v('v1')} times {v('v2')} divided by {n()}": lambda v1, v2, n: v1 * v2 % n,
    rf"the sum of the reciprocals of {v()} and {n()} as a fraction in lowest terms": lambda v, n: Fraction(1, v) + Fraction(1, n),
    rf"the largest number in the list of the remainders of {v('v1')}, 2{v('v2')}, 3{v('v3')}, 4{v('v4')} and 5{v('v5')} divided by {n()}": lambda v1, n, **same: max(v1 * k % n for k in range(1, 6)),
    rf"the number of primes not exceeding {v()}": lambda v: len(primes(v)),
    rf"the prime number with index {v()} \(2 has index 1\)": lambda v: nth_prime(v),
    rf"the sum of the positive divisors of {v()}": lambda v: sum(divisors(v)),
    rf"the number of integers from 1 to {v('v1')} that are coprime to {v('v2')}": lambda v1, v2: sum(math.gcd(k, v2) == 1 for k in range(1, v1 + 1)),
    rf"the largest prime factor of {v()}": lambda v: largest_prime_factor(v),
    rf"the remainder, divided by {n()}, of the Fibonacci number with index {v()} \(indices 1 and 2 are both 1\)": lambda n, v: fibonacci(v) % n,
    rf"the number of ways to write {v()} as a sum of positive integers, regardless of order": lambda v: partitions(v, v),
    rf"the sum of the powers with exponent {n('n1')} of the two roots of t\^2 - {v()}t - {n('n2')} = 0": lambda n1, v, n2: root_powers(v, n2, n1),
    rf"the discriminant of {n('n1')}t\^2 \+ {v()}t - {n('n2')}": lambda n1, v, n2: v * v + 4 * n1 * n2,
    rf"the integral from 0 to {v()} of {n('n1')} \* {n('n2')} \* t\^2 \+ {n('n3')} \* {n('n4')} \* t": lambda v, n1, n2, n3, n4: integral(v, n1 * n2, n3 * n4),
    rf"the derivative of t\^3 \+ {n()}t\^2 at t = {v()}": lambda n, v: 3 * v * v + 2 * n * v,
    rf"the determinant of the matrix with the rows \({v('v1')}, {n('n1')}, {n('n2')}\), \({n('n3')}, {v('v2')}, {n('n4')}\), \({n('n5')}, {n('n6')}, {v('v3')}\)": lambda v1, n1, n2, n3, **same: determinant(v1, n1, n2, n3),
    rf"twice the area of the triangle with the corners \(0, 0\), \({v('v1')}, {n('n1')}\) and \({n('n2')}, {v('v2')}\)": lambda v1, n1, n2, v2: abs(v1 * v2 - n1 * n2),
    rf"the sum of the powers with exponent {n()} of the integers from 1 to {v()}": lambda n, v: sum(k**n for k in range(1, v + 1)),
    rf"the numerator plus the denominator of {v()}": lambda v: v.numerator + v.denominator,
}  # fmt: skip

ZH = {
    rf"{n('n1')} 的 {v()} 次方除以 {n('n2')} 的余数": lambda n1, v, n2: pow(n1, v, n2),
    rf"{v()} 的 {n('n1')} 倍加 {n('n2')}": lambda v, n1, n2: n1 * v + n2,
    rf"{v()} 与 {n()} 的最小公倍数": lambda v, n: math.lcm(v, n),
    rf"{v('v1')} 加上 {v('v2')} 与 {n()} 的最大公约数": lambda v1, v2, n: v1 + math.gcd(v2, n),
    rf"从 {v()} 个物体中取 {n('n1')} 个的取法数除以 {n('n2')} 的余数": lambda v, n1, n2: math.comb(v, n1) % n2,
    rf"{v()} 的 {n()} 次方的各位数字之和": lambda v, n: sum(map(int, str(v**n))),
    rf"从 1 到 {v()} 的所有整数之和": lambda v: v * (v + 1) // 2,
    rf"把 {v()} 写成三个非负整数的有序和的方法数": lambda v: sum(v - first + 1 for first in range(v + 1)),
    rf"{v()} 模 {n('n1')} 的乘法逆元（取 1 到 {n('n2')} - 1）": lambda v, n1, n2: pow(v, -1, n1),
    rf"{n('n1')} 乘以 {v()} 再除以 {n('n2')} 的余数": lambda n1, v, n2: n1 * v % n2,
    rf"{v('v1')} 乘以 {v('v2')} 再除以 {n()} 的余数": lambda v1, v2, n: v1 * v2 % n,
    rf"{v()} 与 {n()} 的倒数之和（最简分数）": lambda v, n: Fraction(1, v) + Fraction(1, n),
    rf"{v('v1')}、2{v('v2')}、3{v('v3')}、4{v('v4')}、5{v('v5')} 分别除以 {n()} 的余数所成列表中的最大数": lambda v1, n, **same: max(v1 * k % n for k in range(1, 6)),
    rf"不超过 {v()} 的质数的个数": lambda v: len(primes(v)),
    rf"第 {v()} 个质数（2 为第 1 个）": lambda v: nth_prime(v),
    rf"{v()} 的所有正因数之和": lambda v: sum(divisors(v)),
    rf"1 到 {v('v1')} 中与 {v('v2')} 互质的整数的个数": lambda v1, v2: sum(math.gcd(k, v2) == 1 for k in range(1, v1 + 1)),
    rf"{v()} 的最大质因数": lambda v: largest_prime_factor(v),
    rf"第 {v()} 个斐波那契数（第 1、2 个均为 1）除以 {n()} 的余数": lambda v, n: fibonacci(v) % n,
    rf"把 {v()} 写成正整数之和的方法数（不计次序）": lambda v: partitions(v, v),
    rf"方程 t\^2 - {v()}t - {n('n1')} = 0 的两个根的 {n('n2')} 次方之和": lambda v, n1, n2: root_powers(v, n1, n2),
    rf"二次式 {n('n1')}t\^2 \+ {v()}t - {n('n2')} 的判别式": lambda n1, v, n2: v * v + 4 * n1 * n2,
    rf"{n('n1')} \* {n('n2')} \* t\^2 \+ {n('n3')} \* {n('n4')} \* t 从 0 到 {v()} 的定积分": lambda v, n1, n2, n3, n4: integral(v, n1 * n2, n3 * n4),
    rf"t\^3 \+ {n()}t\^2 在 t = {v()} 处的导数": lambda n, v: 3 * v * v + 2 * n * v,
    rf"以 \({v('v1')}, {n('n1')}, {n('n2')}\)、\({n('n3')}, {v('v2')}, {n('n4')}\)、\({n('n5')}, {n('n6')}, {v('v3')}\) 为行的矩阵的行列式": lambda v1, n1, n2, n3, **same: determinant(v1, n1, n2, n3),
    rf"以 \(0, 0\)、\({v('v1')}, {n('n1')}\)、\({n('n2')}, {v('v2')}\) 为顶点的三角形面积的两倍": lambda v1, n1, n2, v2: abs(v1 * v2 - n1 * n2),
    rf"从 1 到 {v()} 的各整数的 {n()} 次方之和": lambda v, n: sum(k**n for k in range(1, v + 1)),
    rf"{v()} 的分子与分母之和": lambda v: v.numerator + v.denominator,
}  # fmt: skip

OPENING = {"en": r"Let (?P<name>[a-z]) = (?P<value>\d+)\. ", "zh": r"设 (?P<name>[a-z]) = (?P<value>\d+)。"}


def answer(question: str, language: str) -> str:
    """The answer, as it is written."""
    found: Any = chains.answer(OPENING[language], question, language, EN if language == "en" else ZH, int)
    return str(found)
