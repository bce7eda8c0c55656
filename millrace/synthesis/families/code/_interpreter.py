"""Runs the Python that this room's families write, statement by statement, with no help from Python's own interpreter.

Covers: integers, lists, dictionaries, assignments, `for`, `while`, `if`, comparisons, calls of `append`, `pop`, `get`, `len`,
`sum`, `sorted`, `range`, `min`, `max`. Anything else raises `KeyError`: a family that uses it must teach it here.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

MAX_STATEMENTS = 20_000

OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: any(item == other for other in items),
    ast.NotIn: lambda item, items: all(item != other for other in items),
}  # fmt: skip
BUILT_IN: dict[str, Callable[..., Any]] = {"len": len, "sum": sum, "sorted": sorted, "range": range, "min": min, "max": max}


class Machine:
    """The variables of one run, and how many statements it took."""

    def __init__(self, source: str) -> None:
        self.names: dict[str, Any] = {}
        self.statements = 0
        self.printed: list[str] = []
        self._run(ast.parse(source).body)

    def _run(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statements += 1
            if self.statements > MAX_STATEMENTS:
                raise ValueError("the program runs too long")
            match statement:
                case ast.Assign(targets=[target], value=value):
                    self._set(target, self._value(value))
                case ast.AugAssign(target=target, op=op, value=value):
                    old = self._value(target)
                    new = self._value(value)
                    self._set(target, old + new if isinstance(old, list) else OPERATORS[type(op)](old, new))
                case ast.For(target=target, iter=items, body=inner):
                    for item in self._value(items):
                        self._set(target, item)
                        self._run(inner)
                case ast.While(test=test, body=inner):
                    while self._value(test):
                        self._run(inner)
                case ast.If(test=test, body=inner, orelse=other):
                    self._run(inner if self._value(test) else other)
                case ast.Expr(value=ast.Call(func=ast.Name(id="print"), args=args)):
                    self.printed.append(" ".join(str(self._value(arg)) for arg in args))
                case ast.Expr(value=value):
                    self._value(value)
                case _:
                    raise KeyError(type(statement).__name__)

    def _set(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id=name):
                self.names[name] = value
            case ast.Subscript(value=place, slice=index):
                self._value(place)[self._value(index)] = value
            case _:
                raise KeyError(type(target).__name__)

    def _value(self, node: ast.expr) -> Any:  # noqa: PLR0912 - a branch for each kind of expression
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self.names[name]
            case ast.List(elts=parts):
                return [self._value(part) for part in parts]
            case ast.Dict(keys=[], values=[]):
                return {}
            case ast.BinOp(left=left, op=op, right=right):
                return OPERATORS[type(op)](self._value(left), self._value(right))
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return -self._value(part)
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part) for part in parts)
            case ast.BoolOp(op=ast.Or(), values=parts):
                return any(self._value(part) for part in parts)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return OPERATORS[type(op)](self._value(left), self._value(right))
            case ast.Subscript(value=place, slice=index):
                return self._value(place)[self._value(index)]
            case ast.Call(func=ast.Name(id=name), args=args):
                return BUILT_IN[name](*(self._value(arg) for arg in args))
            case ast.Call(func=ast.Attribute(value=place, attr=name), args=args) if name in ("append", "pop", "get"):
                return getattr(self._value(place), name)(*(self._value(arg) for arg in args))
            case _:
                raise KeyError(ast.dump(node)[:80])
