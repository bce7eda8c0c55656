"""Exact arithmetic on expressions from anybody: integers and fractions, a white list of syntax, limits on size and time.

Covers: no names but those listed, no attributes, no subscripts, no strings, no comprehensions (so no walk over classes, no
import, no call of anything else); the size of every result is estimated *before* it is computed, so `9**9**9` is refused at
once. Does not cover: secrecy of timing.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from millrace.synthesis.environments import ToolError

MAX_BITS = 20_000
"""The largest integer, in bits (about 6,000 digits): every allowed operation on such numbers takes well under a millisecond."""

MAX_EXPONENT = 5_000
"""Of a decimal as it is written: about as many digits as `MAX_BITS` has."""

MAX_NODES = 400
"""The largest expression, in syntax nodes."""

MAX_EXPRESSIONS = 50
"""The most expressions in one call."""

MAX_CHARS = 2_000
"""The longest expression; longer ones are not even parsed."""

Number = int | Fraction


def calculate(expression: str) -> Number:
    """The exact value of an arithmetic expression.

    Raises:
        ToolError: syntax that isn't arithmetic, an unknown function, a result too large, a division by zero.
    """
    if len(expression) > MAX_CHARS:
        raise ToolError(f"the expression has {len(expression)} characters; at most {MAX_CHARS} are read")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ToolError(f"not an arithmetic expression: {error}") from error
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise ToolError(f"the expression has more than {MAX_NODES} parts")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            node.value = _decimal(ast.get_source_segment(expression.strip(), node) or "")
    try:
        return _value(tree.body)
    except ZeroDivisionError as error:
        raise ToolError("division by zero") from error
    except RecursionError as error:
        raise ToolError("the expression is nested too deeply") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise ToolError(str(error)) from error


def _decimal(written: str) -> Any:
    """The number that is written, which a float need not be: `1e-400` is not 0, nor `0.1` what 64 bits make of it."""
    digits, _, exponent = written.replace("_", "").lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_EXPONENT:
        raise ToolError(f"the exponent of {written[:40]} is beyond {MAX_EXPONENT}")
    return Fraction(digits) * Fraction(10) ** int(exponent or 0)


def calculator(expressions: list[str]) -> str:
    """The tool: one line per expression, `expression = value` or `expression = ERROR (why)`."""
    if len(expressions) > MAX_EXPRESSIONS:
        raise ToolError(f"at most {MAX_EXPRESSIONS} expressions in one call, not {len(expressions)}")
    lines = ["Results:"]
    failed = 0
    for expression in expressions:
        try:
            lines.append(f"{expression} = {show(calculate(expression))}")
        except ToolError as error:
            failed += 1
            lines.append(f"{expression[:200]} = ERROR ({error})")
    if failed == len(expressions):
        raise ToolError("\n".join(lines[1:]) or "no expression given")
    return "\n".join(lines)


def show(value: Number) -> str:
    """A number as the tools write it: `7`, `-3/4`; an integer as large as `MAX_BITS` in full."""
    if isinstance(value, Fraction) and value.denominator == 1:
        value = value.numerator
    if isinstance(value, int) and value.bit_length() > 10_000:
        raise ToolError(f"the result has {value.bit_length()} bits, too long to write down")
    return str(value)


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=bool()):
            raise ToolError("True and False are not numbers here")
        case ast.Constant(value=int() as number):
            return _sized(number)
        case ast.Constant(value=Fraction() as number):
            return _sized(number)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_value(inner)
        case ast.UnaryOp(op=ast.UAdd(), operand=inner):
            return _value(inner)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return _sized(BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return _sized(FUNCTIONS[name](*(_value(arg) for arg in args)))
        case ast.Call(func=ast.Name(id=name)):
            raise ToolError(f"no function '{name}'; known: {', '.join(sorted(FUNCTIONS))}")
        case _:
            raise ToolError(f"{type(node).__name__} is not arithmetic")


def _sized(number: Any) -> Number:
    if isinstance(number, Fraction):
        if number.denominator == 1:
            number = number.numerator
        elif number.numerator.bit_length() + number.denominator.bit_length() > MAX_BITS:
            raise ToolError("a fraction grew too large")
        else:
            return number
    if not isinstance(number, int):
        raise ToolError(f"{number!r} is not an exact number")
    if number.bit_length() > MAX_BITS:
        raise ToolError("a number grew too large")
    return number


def _power(base: Number, exponent: Number) -> Number:
    if not isinstance(exponent, int):
        raise ToolError("an exponent must be an integer: the result would not be exact")
    if abs(exponent) * max(_bits(base), 1) > MAX_BITS and base not in (0, 1, -1):
        raise ToolError("the power would be too large")
    if exponent < 0:
        return Fraction(1) / Fraction(base) ** -exponent
    return base**exponent


def _times(left: Number, right: Number) -> Number:
    return left * right


def _divide(left: Number, right: Number) -> Number:
    return Fraction(left) / Fraction(right)


def _whole(name: str, value: Number, low: int, high: int) -> int:
    if not isinstance(value, int) or not low <= value <= high:
        limits = f" from {low} to {high}" if max(abs(low), high).bit_length() <= 64 else ""
        said = str(value)[:40] if _bits(value) <= 1_000 else f"a number of {_bits(value)} bits"
        raise ToolError(f"{name} takes an integer{limits}, not {said}")
    return value


def _bits(value: Number) -> int:
    return value.bit_length() if isinstance(value, int) else value.numerator.bit_length() + value.denominator.bit_length()


def _three_power(base: Number, exponent: Number, modulus: Number | None = None) -> Number:
    if modulus is None:
        return _power(base, exponent)
    numbers = (_whole("pow", base, -(2**4096), 2**4096), _whole("pow", exponent, -(2**4096), 2**4096))
    return pow(numbers[0], numbers[1], _whole("pow", modulus, 1, 2**512))


def _root(value: Number) -> Number:
    """The square root where it is exact."""
    top, bottom = Fraction(value).numerator, Fraction(value).denominator
    if top < 0 or math.isqrt(top) ** 2 != top or math.isqrt(bottom) ** 2 != bottom:
        raise ToolError(f"the square root of {str(value)[:40]} is not rational; isqrt() gives its whole part")
    return Fraction(math.isqrt(top), math.isqrt(bottom))


def _rounded(value: Number, digits: Number) -> Number:
    places = _whole("round", digits, -1_000, 1_000)
    return round(Fraction(value), places) if places else round(Fraction(value))


def _integers(name: str, values: tuple[Number, ...]) -> list[int]:
    return [_whole(name, value, -(2**MAX_BITS), 2**MAX_BITS) for value in values]


BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: _times,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
"""The operators, all exact."""

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "round": lambda value, digits=0: _rounded(value, digits),
    "floor": math.floor,
    "ceil": math.ceil,
    "min": min,
    "max": max,
    "sum": lambda *values: sum(values),
    "gcd": lambda *values: math.gcd(*_integers("gcd", values)),
    "lcm": lambda *values: math.lcm(*_integers("lcm", values)),
    "comb": lambda n, k: math.comb(_whole("comb", n, 0, 2_000), _whole("comb", k, 0, 2_000)),
    "perm": lambda n, k: math.perm(_whole("perm", n, 0, 1_000), _whole("perm", k, 0, 1_000)),
    "factorial": lambda n: math.factorial(_whole("factorial", n, 0, 1_000)),
    "isqrt": lambda n: math.isqrt(_whole("isqrt", n, 0, 2**MAX_BITS)),
    "sqrt": _root,
    "pow": _three_power,
    "digit_sum": lambda n: sum(int(digit) for digit in str(abs(_whole("digit_sum", n, -(2**4096), 2**4096)))),
    "numerator": lambda value: Fraction(value).numerator,
    "denominator": lambda value: Fraction(value).denominator,
}
"""The functions, all exact."""
