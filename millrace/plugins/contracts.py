"""What a plug-in must have, and what it may have: held against its protocol when it is loaded and when it is opened.

A protocol's members are required, but for fields with a value and methods marked `optional`: those are abilities with a default.
A plug-in gets the defaults by deriving from the protocol, or here, so that its callers never ask whether it has them.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from types import MethodType, ModuleType
from typing import Any, NamedTuple, TypeVar

from millrace.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])

MARK = "__millrace_optional__"


def optional(function: F) -> F:
    """Marks a protocol's method (or a property's function) that a plug-in may leave out: its body is then the default."""
    setattr(function, MARK, True)
    return function


class Member(NamedTuple):
    """One member of a protocol."""

    name: str
    value: Any
    """The function, the property or the default value; None where only a type is declared."""
    required: bool

    @property
    def is_method(self) -> bool:
        """Whether it is called."""
        return inspect.isfunction(self.value)

    @property
    def said(self) -> str:
        """How a message names it: with what it is called with."""
        return f"function {self.name}{_call(self.value)}" if self.is_method else self.name


def members_of(contract: type) -> Iterator[Member]:
    """The members of a protocol, in the order in which they are written."""
    given = {name: value for name, value in vars(contract).items() if not name.startswith("_")}
    for name in inspect.get_annotations(contract):
        if name not in given and not name.startswith("_"):
            yield Member(name, None, required=True)
    for name, value in given.items():
        if inspect.isfunction(value):
            yield Member(name, value, required=MARK not in vars(value))
        elif isinstance(value, property):
            assert value.fget is not None
            yield Member(name, value, required=MARK not in vars(value.fget))
        else:
            yield Member(name, value, required=False)
    for base in contract.__bases__:
        if base.__name__ not in ("Protocol", "object", "Generic"):
            yield from (member for member in members_of(base) if member.name not in given)


def completed(found: Any, contract: type, what: str) -> Any:
    """`found`, a plug-in's module or what it opened, with a default for each optional ability that it leaves out.

    Args:
        found: what is held against the contract.
        contract: the protocol.
        what: how a message calls it: "the judge 'mine.strict'".

    Raises:
        UsageError: something that the protocol requires is missing, or takes other arguments.
    """
    for member in members_of(contract):
        own = _own(found, member.name)
        inherited = own is member.value and own is not None
        if own is MISSING or (inherited and member.required):
            if member.required:
                raise UsageError(_missing(found, member, what))
            _set_default(found, member, contract, what)
        elif member.is_method and not inherited:
            _check_arguments(getattr(found, member.name), member, what)
    return found


MISSING = object()


def _own(found: Any, name: str) -> Any:
    """A member as it is written, without running a property; `MISSING` where there is none."""
    static = inspect.getattr_static(found, name, MISSING)
    if static is not MISSING:
        return static
    try:
        return getattr(found, name)  # what a class's or a module's `__getattr__` gives
    except AttributeError:
        return MISSING


def _set_default(found: Any, member: Member, contract: type, what: str) -> None:
    value = member.value
    if member.is_method:
        value = MethodType(value, found)
    elif isinstance(value, property):
        assert value.fget is not None
        value = value.fget(found)
    try:
        setattr(found, member.name, value)
    except (AttributeError, TypeError) as error:
        where = f"{contract.__module__}.{contract.__name__}"
        raise UsageError(f"{what} has no '{member.name}' and cannot be given one: derive its class from {where}") from error


def _missing(found: Any, member: Member, what: str) -> str:
    there = sorted(name for name in dir(found) if not name.startswith("_") and name != member.name)
    close = difflib.get_close_matches(member.name, there, n=1, cutoff=0.7)
    hint = f" (it has '{close[0]}')" if close else ""
    if isinstance(found, ModuleType):
        return f"{what} has no {member.said}{hint}; add it to {found.__file__ or found.__name__}"
    kind = type(found)
    return f"{what}: {kind.__module__}.{kind.__qualname__} has no {member.said}{hint}; add it there"


def _check_arguments(function: Any, member: Member, what: str) -> None:
    if not callable(function):
        raise UsageError(f"{what}: '{member.name}' must be a function, not a {type(function).__name__}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # in C: it will say so itself
        return
    positional, named = _arguments(member.value)
    bind = signature.bind_partial if _keywords(member.value) else signature.bind  # `**settings` may be any, also required ones
    try:
        bind(*positional, **dict.fromkeys(named))
    except TypeError as error:
        raise UsageError(f"{what}: {member.name}{signature} must take {_call(member.value)}: {error}") from None


def _arguments(function: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """The arguments that a protocol's method is called with: by place, and by name."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    positional = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    return positional, [one.name for one in parameters if one.kind is one.KEYWORD_ONLY]


def _call(function: Callable[..., Any]) -> str:
    """`(settings, *, device)`."""
    positional, named = _arguments(function)
    keywords = [f"**{name}" for name in _keywords(function)]
    return f"({', '.join([*positional, *(['*', *named] if named else []), *keywords])})"


def _keywords(function: Callable[..., Any]) -> list[str]:
    return [one.name for one in inspect.signature(function).parameters.values() if one.kind is one.VAR_KEYWORD]
