"""A trajectory as turns with reasoning, the tools' schemas and a system message: what exports for training share.

The reasoning before a call is the sentence of the question that the call answers, with the value that is put in: it is made of
the environment's own words, so that it says nothing that was not computed. Where a chat model explored, it is its intent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UNSET

from millrace.records.synthesis import QAItem
from millrace.records.trajectories import Call, Node, Trajectory
from millrace.synthesis.environments import Environment
from millrace.synthesis.lines import calls_of
from millrace.synthesis.scoring.reward import environment_for
from millrace.synthesis.writing import answer_text, worded

SYSTEM = {
    "en": "Answer the question with the tools. Say what you need before each call. At the end, give the answer alone.",
    "zh": "请用工具回答问题。每次调用之前先说明需要什么。最后只给出答案。",
}
"""What the system message asks for: what the turns do."""

LOOKING = {"en": "First I look for the place that says it.", "zh": "先找到写有它的地方。"}


@dataclass(frozen=True, slots=True)
class Turn:
    """A call with the reasoning before it and what the tool answered."""

    why: str
    call: Call
    observation: str


def system_of(item: QAItem) -> str:
    """The system message, in the question's language."""
    return SYSTEM.get(item.language, SYSTEM["en"])


def turns_of(item: QAItem, trajectory: Trajectory) -> list[Turn]:
    """The calls of a trajectory in their order."""
    calls = calls_of(trajectory)
    whys = _whys(item, [node for node, _ in calls])
    return [Turn(why, call, node.observation) for why, (node, call) in zip(whys, calls, strict=True)]


def tools_of(item: QAItem) -> list[dict[str, Any]]:
    """The schemas of the tools that the environment has, in the form of OpenAI-compatible servers."""
    tools = environment_for(item.verifier.args).tools
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in tools.values()
    ]


def as_text(value: Any) -> str:
    """JSON as text: what differs from row to row, as arguments do, is no column that a table could have."""
    return json.dumps(value, ensure_ascii=False)


def _whys(item: QAItem, nodes: Sequence[Node]) -> list[str]:
    chain = item.verifier.args.chain
    if chain is UNSET or [node.hop for node in nodes] != list(chain.hops):
        return [node.intent for node in nodes]
    environment: Environment = environment_for(item.verifier.args)
    said = worded(environment, chain, item.language)
    values = [chain.start.value, *(hop.value for hop in chain.hops)]
    whys = []
    for place, sentence in enumerate(said.hops):
        shown = answer_text(values[place])
        if not sentence:
            whys.append(LOOKING.get(item.language, LOOKING["en"]))
        elif place and said.names[place] != shown:
            known = f"已知 {said.names[place]} = {shown}。" if item.language == "zh" else f"{said.names[place]} is {shown}. "
            whys.append(known + sentence)
        else:
            whys.append(sentence)
    return whys
