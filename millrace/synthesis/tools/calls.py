"""Several tool calls at once: those that one process runs are handed to it together, so that it is woken once for all of them.

On a loaded machine a call costs less than the turns that two processes must wait for to speak of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millrace.synthesis.environments import Action, Caller, Observation, Tool, argument_errors

TIMEOUT_S = 30.0
"""For a call whose caller does not say."""

MAX_CHARS = 20_000
"""Longer answers are cut, with a note at the end."""


def run_together(tools: Mapping[str, Tool], actions: Sequence[Action], *, timeout_s: float = TIMEOUT_S) -> list[Observation]:
    """What the calls give, in their order; whatever goes wrong with one is its own observation.

    Args:
        tools: by name; a call of another one is refused.
        actions: the calls.
        timeout_s: for each of them.
    """
    found: dict[int, Observation] = {}
    hosted: dict[int, tuple[Caller, list[int]]] = {}
    for place, action in enumerate(actions):
        tool = tools.get(action.tool_name)
        if tool is None:
            known = ", ".join(sorted(tools))
            found[place] = Observation("error", f"there is no tool '{action.tool_name}'; known: {known}", "refused")
        elif tool.host is None:
            found[place] = tool.run(action.parameters, timeout_s=timeout_s, max_chars=MAX_CHARS)
        elif wrong := argument_errors(tool.parameters, action.parameters):
            found[place] = Observation("error", f"{tool.name}: {wrong}", "refused")
        else:
            hosted.setdefault(id(tool.host), (tool.host, []))[1].append(place)
    for host, places in hosted.values():
        answers = host.call_all([actions[place] for place in places], timeout_s=timeout_s, max_chars=MAX_CHARS)
        found.update(zip(places, answers, strict=True))
    return [found[place] for place in range(len(actions))]
