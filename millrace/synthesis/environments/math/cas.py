"""A computer algebra tool: named operations of sympy on checked arguments, never an expression from outside.

sympy's own parser evaluates Python, so text from a policy never reaches it: each operation takes integers (or lists of them)
within limits that keep its time below about a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from millrace.records.trajectories import Arguments
from millrace.synthesis.environments import ToolError


def cas(operation: str, arguments: Arguments) -> str:
    """The tool: the result of one operation as a line `operation(arguments) = value`."""
    if operation not in OPERATIONS:
        raise ToolError(f"no operation '{operation}'; known: {', '.join(sorted(OPERATIONS))}")
    limits, compute = OPERATIONS[operation]
    if set(arguments) != set(limits):
        raise ToolError(f"{operation} takes {', '.join(limits)}, not {', '.join(map(str, arguments)) or 'nothing'}")
    for name, (low, high) in limits.items():
        _check(operation, name, arguments[name], low, high, DEPTHS.get(name, 0))
    return f"Results:\n{call_text(operation, arguments)} = {compute(**arguments)}"


def call_text(operation: str, arguments: Arguments) -> str:
    """How a call is written in its observation: `divisor_sum(n=12)`."""
    return f"{operation}({', '.join(f'{name}={arguments[name]}' for name in sorted(arguments))})"


DEPTHS = {"coefficients": 1, "rows": 2, "points": 2}
"""How deep an argument's lists are nested; the others are single integers."""


def _check(operation: str, name: str, value: Any, low: int, high: int, depth: int) -> None:
    """Integers within the limits, in lists as deep as the argument has them.

    Raises:
        ToolError: anything else, so that a list is never taken for a number, nor a number for a list.
    """
    if depth:
        if not isinstance(value, list) or not 1 <= len(value) <= 8:
            wanted = "a list of 1 to 8 integers" if depth == 1 else "a list of 1 to 8 lists"
            raise ToolError(f"{operation}: {name} takes {wanted}, not {str(value)[:60]}")
        for entry in value:
            _check(operation, name, entry, low, high, depth - 1)
    elif isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ToolError(f"{operation}: {name} takes integers from {low} to {high}, not {str(value)[:60]}")


def _sympy() -> Any:
    import sympy  # it takes a quarter of a second, and most commands never calculate

    return sympy


def _polynomial(coefficients: list[int]) -> Any:
    x = _sympy().Symbol("x")
    return _sympy().Poly(coefficients, x)


def _power_sum(coefficients: list[int], power: int) -> Any:
    sympy = _sympy()
    roots = sympy.roots(_polynomial(coefficients), multiple=True)
    if len(roots) != len(coefficients) - 1:
        raise ToolError("the roots cannot be written down exactly")
    return sympy.simplify(sympy.expand(sum(root**power for root in roots)))


def _integral(coefficients: list[int], low: int, high: int) -> Any:
    sympy = _sympy()
    x = sympy.Symbol("x")
    return sympy.integrate(_polynomial(coefficients).as_expr(), (x, low, high))


def _derivative_at(coefficients: list[int], at: int) -> Any:
    return _polynomial(coefficients).diff().eval(at)


def _determinant(rows: list[list[int]]) -> Any:
    if any(not isinstance(row, list) or len(row) != len(rows) for row in rows) or len(rows) > 5:
        raise ToolError("determinant: rows must be a square of at most 5 by 5")
    return _sympy().Matrix(rows).det()


def _triangle_area(points: list[list[int]]) -> Any:
    sympy = _sympy()
    if len(points) != 3 or any(not isinstance(point, list) or len(point) != 2 for point in points):
        raise ToolError("triangle_area_doubled: points must be three pairs")
    corners = [sympy.Point(*point) for point in points]
    return 0 if sympy.Point.is_collinear(*corners) else abs(2 * sympy.Triangle(*corners).area)


def _partitions(n: int) -> Any:
    return _sympy().functions.combinatorial.numbers.partition(n)  # it takes no argument by name


def _power_sum_to(n: int, power: int) -> Any:
    sympy = _sympy()
    k = sympy.Symbol("k", integer=True)
    return sympy.summation(k**power, (k, 1, n))


Limits = dict[str, tuple[int, int]]

OPERATIONS: dict[str, tuple[Limits, Callable[..., Any]]] = {
    "prime_count": ({"n": (0, 10**6)}, lambda n: _sympy().primepi(n)),
    "nth_prime": ({"n": (1, 10**5)}, lambda n: _sympy().prime(n)),
    "divisor_sum": ({"n": (1, 10**9)}, lambda n: _sympy().divisor_sigma(n, 1)),
    "divisor_count": ({"n": (1, 10**9)}, lambda n: _sympy().divisor_count(n)),
    "totient": ({"n": (1, 10**9)}, lambda n: _sympy().totient(n)),
    "largest_prime_factor": ({"n": (2, 10**9)}, lambda n: max(_sympy().factorint(n))),
    "fibonacci_mod": ({"n": (0, 5_000), "modulus": (1, 10**6)}, lambda n, modulus: _sympy().fibonacci(n) % modulus),
    "partitions": ({"n": (0, 1_000)}, _partitions),
    "power_sum_of_roots": ({"coefficients": (-(10**6), 10**6), "power": (1, 6)}, _power_sum),
    "discriminant": ({"coefficients": (-(10**6), 10**6)}, lambda coefficients: _polynomial(coefficients).discriminant()),
    "integral": ({"coefficients": (-(10**6), 10**6), "low": (-100, 10**4), "high": (-100, 10**4)}, _integral),
    "derivative_at": ({"coefficients": (-(10**6), 10**6), "at": (-(10**6), 10**6)}, _derivative_at),
    "determinant": ({"rows": (-(10**6), 10**6)}, _determinant),
    "triangle_area_doubled": ({"points": (-(10**6), 10**6)}, _triangle_area),
    "sum_of_powers": ({"n": (1, 10**4), "power": (1, 6)}, _power_sum_to),
}
"""Operation → (limits of its arguments, what computes it)."""
