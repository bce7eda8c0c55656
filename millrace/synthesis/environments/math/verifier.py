"""Checks chains of numbers with plain Python: brute force, counting, or another theorem than the tools use; no sympy.

Each function below answers for one operator of the math environment. Where the tool uses a formula, this enumerates; where the
tool enumerates, this uses a recurrence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise, permutations
from typing import Any

from millrace.synthesis.environments import Unprovable, Value, Verifier


def common_divisor(a: int, b: int) -> int:
    """By Euclid, with remainders."""
    while b:
        a, b = b, a % b
    return a


@lru_cache(maxsize=64)
def primes_below(limit: int) -> Sequence[int]:
    """By a sieve; kept, because the proof of one question asks for the same limits again and again."""
    composite = bytearray(limit + 1)
    found = []
    for number in range(2, limit):
        if not composite[number]:
            found.append(number)
            composite[number * number :: number] = b"\1" * len(range(number * number, limit + 1, number))
    return tuple(found)


def _power_mod(x: int, b: int, m: int) -> int:
    product = 1
    for _ in range(x):
        product = product * b % m
    return product


def _lcm(x: int, k: int) -> int:
    multiple = x
    while multiple % k:
        multiple += x
    return multiple


def _plus_gcd(x: int, k: int) -> int:
    return x + max(d for d in range(1, k + 1) if x % d == 0 and k % d == 0)


def _choose_mod(x: int, k: int, m: int) -> int:
    row = [1]
    for _ in range(x):
        row = [1, *((left + right) % m for left, right in pairwise(row)), 1]
    return row[k] % m


def _digits(x: int, p: int) -> int:
    number, total = 1, 0
    for _ in range(p):
        number *= x
    while number:
        number, digit = divmod(number, 10)
        total += digit
    return total


def _triples(x: int) -> int:
    return sum(1 for first in range(x + 1) for second in range(x - first + 1) if x - first - second >= 0)


def _inverse(x: int, m: int) -> int:
    found = [candidate for candidate in range(1, m) if candidate * x % m == 1]
    if len(found) != 1:
        raise Unprovable(f"{x} has {len(found)} inverses modulo {m}")
    return found[0]


def _scaled(x: int, k: int, m: int) -> int:
    total = 0
    for _ in range(k):
        total = (total + x) % m
    return total


def _reciprocals(x: int, k: int) -> str:
    top, bottom = x + k, x * k
    divisor = common_divisor(top, bottom)
    return f"{top // divisor}/{bottom // divisor}" if bottom != divisor else str(top // divisor)


def _top_plus_bottom(x: str) -> int:
    top, _, bottom = x.partition("/")
    return int(top) + int(bottom or 1)


def _nth_prime(x: int) -> int:
    limit = 32
    while True:
        found = primes_below(limit)
        if len(found) >= x:
            return found[x - 1]
        limit *= 2


def _coprime_count(x: int) -> int:
    return sum(1 for number in range(1, x + 1) if common_divisor(x, number) == 1)


def _largest_factor(x: int) -> int:
    largest, divisor = 1, 2
    while x > 1:
        if x % divisor == 0:
            largest, x = divisor, x // divisor
        elif divisor * divisor > x:
            return x
        else:
            divisor += 1
    return largest


def _fibonacci(x: int, m: int) -> int:
    before, now = 0, 1
    for _ in range(x - 1):
        before, now = now, (before + now) % m
    return now % m


def _partitions(x: int) -> int:
    ways = [1] + [0] * x
    for part in range(1, x + 1):
        for total in range(part, x + 1):
            ways[total] += ways[total - part]
    return ways[x]


def _root_powers(x: int, c: int, power: int) -> int:
    sums = [2, x]  # Newton: s_n = x * s_(n-1) + c * s_(n-2) for t^2 = x t + c
    while len(sums) <= power:
        sums.append(x * sums[-1] + c * sums[-2])
    return sums[power]


def _discriminant(x: int, p: int, c: int) -> int:
    return x * x + 4 * p * c


def _integral(x: int, p: int, q: int) -> int:
    def f(t: Fraction) -> Fraction:
        return 3 * p * t * t + 2 * q * t

    simpson = Fraction(x, 6) * (f(Fraction(0)) + 4 * f(Fraction(x, 2)) + f(Fraction(x)))  # exact up to cubics
    return int(simpson)


def _derivative(x: int, k: int) -> int:
    def f(t: int) -> int:
        return t * t * t + k * t * t

    return (f(x + 1) - f(x - 1)) // 2 - 1  # a cubic's central difference is off by its leading coefficient


def _determinant(x: int, p: int, q: int, r: int) -> int:
    rows = [[x, p, q], [r, x, p], [q, r, x]]
    total = 0
    for order in permutations(range(3)):
        swaps = sum(1 for i in range(3) for j in range(i) if order[j] > order[i])
        total += (-1) ** swaps * rows[0][order[0]] * rows[1][order[1]] * rows[2][order[2]]
    return total


def _triangle(x: int, p: int, q: int) -> int:
    """Pick: twice the area is 2 * inner points + boundary points - 2."""
    corners = [(0, 0), (x, p), (q, x)]
    boundary = sum(
        common_divisor(abs(a[0] - b[0]), abs(a[1] - b[1])) for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
    )
    inner = 0
    for i in range(x + 1):
        for j in range(x + 1):
            sides = [
                (b[0] - a[0]) * (j - a[1]) - (b[1] - a[1]) * (i - a[0])
                for a, b in zip(corners, corners[1:] + corners[:1], strict=True)
            ]
            inner += all(side > 0 for side in sides) or all(side < 0 for side in sides)
    return 2 * inner + boundary - 2


COMPUTE: dict[str, Callable[..., Value]] = {
    "mod_power": _power_mod,
    "linear": lambda x, p, q: sum(x for _ in range(p)) + q,
    "least_common_multiple": _lcm,
    "plus_common_divisor": _plus_gcd,
    "choose_mod": _choose_mod,
    "digits_of_power": _digits,
    "sum_to": lambda x: sum(range(1, x + 1)),
    "triples": _triples,
    "inverse": _inverse,
    "scaled_remainder": _scaled,
    "sum_of_reciprocals": _reciprocals,
    "largest_residue": lambda x, m: sorted(_scaled(x, times, m) for times in range(1, 6))[-1],
    "prime_count": lambda x: len(primes_below(x + 1)),
    "nth_prime": _nth_prime,
    "divisor_sum": lambda x: sum(d for d in range(1, x + 1) if x % d == 0),
    "totient": _coprime_count,
    "largest_prime_factor": _largest_factor,
    "fibonacci_mod": _fibonacci,
    "partitions": _partitions,
    "power_sum_of_roots": _root_powers,
    "discriminant": _discriminant,
    "integral": _integral,
    "derivative_at": _derivative,
    "determinant": _determinant,
    "triangle_area_doubled": _triangle,
    "sum_of_powers": lambda x, power: sum(number**power for number in range(1, x + 1)),
    "top_plus_bottom": _top_plus_bottom,
}
"""Operator → its value from the input and the constants."""


COUNTABLE = {
    "mod_power": 50_000,
    "triples": 400,
    "choose_mod": 400,
    "partitions": 200,
    "triangle_area_doubled": 120,
    "divisor_sum": 100_000,
    "totient": 50_000,
    "nth_prime": 10_000,
    "prime_count": 100_000,
    "fibonacci_mod": 50_000,
    "sum_to": 100_000,
    "sum_of_powers": 10_000,
    "least_common_multiple": 10**6,
    "largest_prime_factor": 10**9,
}
"""The largest input for which counting takes milliseconds; beyond it a hop is called unprovable."""


@lru_cache(maxsize=10_000)
def _computed(op: str, x: Value, args: tuple[tuple[str, Any], ...]) -> Value:
    """Kept, because growing a tree, choosing from it and proving the choice ask for the same values."""
    return COMPUTE[op](x, **dict(args))


class MathVerifier(Verifier):
    """Recomputes chains of exact numbers."""

    name = "math/brute-force@1"

    def origin(self, start: Mapping[str, Any]) -> Value:
        """The start is a number that the question states."""
        if start["kind"] != "integer" or isinstance(start["value"], bool) or not isinstance(start["value"], int):
            raise Unprovable("a chain of numbers starts from an integer")
        return start["value"]

    def apply(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Value:
        """One hop, in plain Python."""
        x = values[-1]
        if isinstance(x, int) and not -(10**12) <= x <= COUNTABLE.get(op, 10**12):
            raise Unprovable(f"{x} is beyond what is checked by counting")
        if op == "product_with_earlier":
            return _scaled(values[args["other"]] % args["m"], x % args["m"], args["m"])
        if op not in COMPUTE:
            raise Unprovable(f"no second way is known for '{op}'")
        try:
            return _computed(op, x, tuple(sorted(args.items())))
        except (TypeError, ValueError, ZeroDivisionError, IndexError) as error:
            raise Unprovable(f"{op} of {x}: {error}") from error

    def alternatives(self, op: str, args: Mapping[str, Any], values: Sequence[Value]) -> Sequence[Value]:
        """Numbers near by, and the input itself: what the value would be without the hop."""
        true = values[-1]
        if isinstance(true, int):
            before = [values[-2]] if isinstance(values[-2], int) and values[-2] != true else []
            return [*before, true + 1, true + 2, true - 1]
        top, bottom = Fraction(true).numerator, Fraction(true).denominator
        return [str(Fraction(top + 1, bottom)), str(Fraction(top, bottom + 1)), str(Fraction(top + 2, bottom))]
