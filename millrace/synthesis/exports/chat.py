"""Conversations with tool calls, in the message form of OpenAI-compatible servers: for supervised fine-tuning."""

from __future__ import annotations

import json
from collections.abc import Iterator

from millrace.records.synthesis import QAItem
from millrace.records.synthesis_rows import AssistantMessage, ChatRow, FunctionCall, MessageToolCall, ToolMessage, UserMessage
from millrace.records.trajectories import Trajectory, Tree
from millrace.synthesis.lines import calls_of, status_in_row


def rows(item: QAItem, trajectory: Trajectory, tree: Tree) -> Iterator[ChatRow]:
    """One conversation: the question, each call with its answer, the final answer."""
    messages: list[UserMessage | AssistantMessage | ToolMessage] = [UserMessage(content=item.question)]
    for number, (node, call) in enumerate(calls_of(trajectory), 1):
        name = f"call_{number}"
        called = FunctionCall(name=call.tool_name, arguments=json.dumps(call.parameters, ensure_ascii=False))
        messages.append(AssistantMessage(content=None, tool_calls=[MessageToolCall(id=name, function=called)]))
        messages.append(ToolMessage(tool_call_id=name, content=node.observation))
    messages.append(AssistantMessage(content=item.answer))
    yield ChatRow(id=item.qa_id, messages=messages, status=status_in_row(item))
