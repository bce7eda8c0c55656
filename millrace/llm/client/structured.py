"""Answers that must satisfy a JSON schema: in words where the server has no mode for it, parsed, checked, asked for once more."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import msgspec
import orjson

from millrace.errors import UsageError
from millrace.llm import JsonSchema, Message, Reply, Request, Usage, assistant, user
from millrace.llm.client.json_repair import json_in
from millrace.llm.failures import CutOff, ReplyInvalid

KEPT_VALIDATORS = 256
_validators: OrderedDict[bytes, Any] = OrderedDict()


def with_schema_in_words(request: Request) -> Request:
    """The request with its schema written under the last message, for servers that can't be given one."""
    schema = orjson.dumps(request.schema).decode()
    words = f"\n\nAnswer with one JSON value and nothing else. It must satisfy this JSON schema:\n{schema}"
    *before, last = request.messages
    last = msgspec.structs.replace(last, parts=(*last.parts, words))
    return msgspec.structs.replace(request, messages=(*before, last))


def says_schema(request: Request) -> bool:
    """Whether the request has its schema in words already, as a re-ask has."""
    return bool(request.messages) and orjson.dumps(request.schema).decode() in request.messages[-1].text


def without_system_role(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages for a server that takes no system message: its words go in front of the first question."""
    words = "\n\n".join(message.text for message in messages if message.role == "system")
    others = [message for message in messages if message.role != "system"]
    if not words:
        return messages
    if not others or others[0].role != "user":
        return (user(words), *others)
    first = msgspec.structs.replace(others[0], parts=(words + "\n\n", *others[0].parts))
    return (first, *others[1:])


def parsed(reply: Reply, schema: JsonSchema) -> Reply:
    """The reply with the value its text stands for; a refusal as it is, without a value.

    Raises:
        ReplyInvalid: `no_json` or `schema_violation`. CutOff: the same of an answer that broke off at its longest length.
    """
    if reply.finish == "refusal":
        return reply
    value = None
    try:
        value = json_in(reply.text, broke_off=reply.finish == "length")
        reason, problem = "schema_violation", first_problem(value, schema)
    except ValueError:
        reason, problem = "no_json", "the answer holds no JSON"
    if problem is not None:
        if reply.finish == "length":
            raise CutOff(text=reply.text)
        raise ReplyInvalid(reason, problem, reply.text)
    return msgspec.structs.replace(reply, value=value)


def first_problem(value: Any, schema: JsonSchema) -> str | None:
    """What is wrong with `value` by `schema`, in a sentence; None when nothing is.

    Raises:
        UsageError: the schema itself is none.
    """
    from jsonschema.exceptions import best_match

    error = best_match(_validator_for(schema).iter_errors(value))
    if error is None:
        return None
    place = "/".join(str(part) for part in error.absolute_path)
    message = error.message if len(error.message) <= 200 else error.message[:197] + "..."
    return f"at {place}: {message}" if place else message


def asked_again(request: Request, reply: Reply, problem: ReplyInvalid) -> Request:
    """The request for a better answer: the same conversation with the answer and what was wrong with it."""
    schema = orjson.dumps(request.schema).decode()  # in words as well: a server may take a schema and not go by it
    words = (
        f"That answer cannot be used: {problem.detail}. Answer again with only the JSON value that satisfies the schema. "
        f"The schema:\n{schema}"
    )
    shown = reply.text if len(reply.text) <= 8000 else reply.text[:8000]
    messages: tuple[Message, ...] = (*request.messages, assistant(shown or "(nothing)"), user(words))
    return msgspec.structs.replace(request, messages=messages)


def together(first: Reply, second: Reply) -> Reply:
    """The second reply, with the usage, the cost and the attempts of both."""
    usage = Usage(
        input_tokens=_sum(first.usage.input_tokens, second.usage.input_tokens),
        output_tokens=_sum(first.usage.output_tokens, second.usage.output_tokens),
        cached_tokens=_sum(first.usage.cached_tokens, second.usage.cached_tokens),
    )
    cost = None if first.cost_usd is None or second.cost_usd is None else first.cost_usd + second.cost_usd
    return msgspec.structs.replace(
        second,
        usage=usage,
        cost_usd=cost,
        attempts=first.attempts + second.attempts,
        replayed=first.replayed and second.replayed,
    )


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


def _validator_for(schema: JsonSchema) -> Any:
    name = orjson.dumps(schema, option=orjson.OPT_SORT_KEYS)
    found = _validators.get(name)
    if found is None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError

        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            raise UsageError(f"the JSON schema for an answer is none: {error.message}") from error
        found = _validators[name] = Draft202012Validator(schema)
        if len(_validators) > KEPT_VALIDATORS:
            _validators.popitem(last=False)
    return found
