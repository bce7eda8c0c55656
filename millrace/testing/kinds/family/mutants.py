"""Answers with something changed, and the functions of a family that one of its methods rests on."""

from __future__ import annotations

from types import CodeType, FunctionType, ModuleType


def mutants(text: str, kind: str) -> list[str]:
    """The answer with something changed, so that it is another answer."""
    if kind in ("integer", "fraction"):
        top, _, bottom = text.partition("/")
        changed = [str(int(top) + step) + (f"/{bottom}" if bottom else "") for step in (-10, -1, 1, 10)]
        return [*changed, f"{text}{'1' if not bottom else ''}"] if not bottom else [*changed, top, f"{bottom}/{top}"]
    entries = text.split(", ")
    shorter = [", ".join(entries[1:]), ", ".join([*entries, "Nobody"])]
    return shorter if kind == "set" or len(entries) < 2 else [*shorter, ", ".join(entries[1:] + entries[:1])]


def functions_of(module: ModuleType, start: str) -> set[str]:
    """`start` and the module's own functions that it calls, directly or through others."""
    found = {start}
    waiting = [start]
    while waiting:
        function = vars(module)[waiting.pop()]
        codes: list[CodeType] = [function.__code__]
        while codes:
            code = codes.pop()
            codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
            for name in code.co_names:
                other = vars(module).get(name)
                if isinstance(other, FunctionType) and other.__module__ == module.__name__ and name not in found:
                    found.add(name)
                    waiting.append(name)
    return found
