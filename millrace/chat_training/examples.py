"""Training records as a chat model is asked them, with what is right to answer: no word differs from what probing sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from millrace.errors import InputError
from millrace.improve.formats import answer as completed_sentence
from millrace.llm import ImagePart, Request
from millrace.llm.client.structured import with_schema_in_words
from millrace.llm.providers.huggingface import TransformersEngine
from millrace.probing.baselines import ClaimPrompt
from millrace.probing.baselines.endpoint import NOT_RELATED, BaselineSettings, claim_request
from millrace.probing.claims import Claim, load_claims
from millrace.records.improve import TrainingRecord

IGNORED = -100
"""Stands for a token that the loss does not look at."""

DOES_NOT_APPLY = "The statement does not apply to the picture."


class Example(NamedTuple):
    """One record: what is asked, and what is right to answer."""

    record: TrainingRecord
    request: Request
    answer: str
    """JSON, as the request's schema wants it."""


def examples_of(records: Sequence[TrainingRecord], images: Path, base: BaselineSettings, claims: str | None) -> list[Example]:
    """Every record as an example, in order.

    Args:
        records: of one training set.
        images: the folder that their images are named from.
        base: the model's settings, which say how it is asked.
        claims: the run's claim set, a name or a path; None: slots take any words.

    Raises:
        InputError: a record's claim is not in the claim set.
    """
    known = {claim.claim_id: claim for claim in load_claims(claims).claims} if claims is not None else {}
    made = []
    for record in records:
        if claims is not None and record.claim_id not in known:
            raise InputError(f"the record {record.id} is about the claim '{record.claim_id}', which is not in '{claims}'")
        prompt = prompt_of(record, known.get(record.claim_id))
        part = ImagePart(data=(images / record.image).read_bytes())
        request = claim_request(base, part, prompt)
        made.append(Example(record, request, right_answer(record, prompt)))
    return made


def prompt_of(record: TrainingRecord, claim: Claim | None) -> ClaimPrompt:
    """What probing gave the baseline for this record."""
    if claim is None:
        return ClaimPrompt(claim_id=record.claim_id, text=record.claim, slots={slot: [] for slot in record.slots})
    return ClaimPrompt(
        claim_id=record.claim_id,
        text=record.claim,
        slots={slot: list(claim.slots[slot].values) for slot in claim.answer_slots},
        instructions=claim.baseline_instructions,
        not_related_conditions=claim.not_related_conditions,
        expected_outputs=claim.expected_outputs,
    )


def right_answer(record: TrainingRecord, prompt: ClaimPrompt) -> str:
    """The JSON that a model which knows the answer writes: `is_related`, `values`, `explanation`, in the schema's order.

    Raises:
        InputError: the record has no right answer for a slot.
    """
    values: dict[str, str] = {}
    for slot in prompt.slots:
        if record.answerable and slot not in record.correct:
            raise InputError(f"the record {record.id} has no right answer for {slot}")
        values[slot] = record.correct[slot] if record.answerable else NOT_RELATED
    said = completed_sentence(record) if record.answerable else DOES_NOT_APPLY
    return orjson.dumps({"is_related": record.answerable, "values": values, "explanation": said}).decode()


def by_image(examples: Sequence[Example]) -> list[list[Example]]:
    """The examples of each image, images in the order of their first."""
    found: dict[str, list[Example]] = {}
    for example in examples:
        found.setdefault(example.record.image, []).append(example)
    return list(found.values())


class Encoded(NamedTuple):
    """One example as a model takes it: a batch of one. Tensors."""

    inputs: Mapping[str, Any]
    """`input_ids` and `attention_mask` (1, T); what else the processor gives: along T where it has that length, pictures as they
    are."""
    prompt_tokens: int
    """The first so many of T are the prompt: nothing is learned from them."""


def encode(example: Example, engine: TransformersEngine, pictures: Sequence[bytes], longest: int | None = None) -> Encoded:
    """Prompt and answer as token ids. The prompt's are those that the provider makes; the answer's come after them, with
    what ends a turn in the model's own chat template.

    Args:
        example: which.
        engine: makes a prompt of a request.
        pictures: of the request, as they are sent.
        longest: tokens at most; None takes what the model says of itself.

    Raises:
        InputError: prompt and answer are longer than the model can read.
    """
    import torch

    inputs = dict(engine.inputs_of([with_schema_in_words(example.request)], [list(pictures)]))
    ids = inputs["input_ids"]
    prompt_tokens = int(ids.shape[1])
    answer = engine.tokenizer(example.answer + engine.end_of_turn, add_special_tokens=False, return_tensors="pt")["input_ids"]
    whole = prompt_tokens + int(answer.shape[1])
    if longest is not None and whole > longest:
        raise InputError(f"the record {example.record.id} has {whole} tokens with its picture, and the model reads {longest}")
    for name, value in inputs.items():
        if name == "input_ids":
            inputs[name] = torch.cat([value, answer.to(value.dtype)], 1)
        elif value.shape == ids.shape:
            more = torch.ones_like(answer) if name == "attention_mask" else torch.zeros_like(answer)
            inputs[name] = torch.cat([value, more.to(value.dtype)], 1)
    return Encoded(inputs, prompt_tokens)


class Batch(NamedTuple):
    """Several examples in one pass. B examples, T tokens of the longest."""

    inputs: dict[str, Any]
    labels_BT: Any
    """Token ids where the answer stands, -100 elsewhere: what the loss looks at."""


def together(encoded: Sequence[Encoded], pad: int) -> Batch:
    """Pad on the right and put together; pictures one behind the other, as processors do it."""
    import torch
    from torch.nn import functional

    length = max(one.inputs["input_ids"].shape[1] for one in encoded)
    inputs: dict[str, Any] = {}
    for name in encoded[0].inputs:
        parts = []
        for one in encoded:
            value = one.inputs[name]
            if value.shape == one.inputs["input_ids"].shape:
                value = functional.pad(value, (0, length - value.shape[1]), value=pad if name == "input_ids" else 0)
            parts.append(value)
        inputs[name] = torch.cat(parts)
    labels_BT = inputs["input_ids"].clone()
    for row, one in enumerate(encoded):
        labels_BT[row, : one.prompt_tokens] = IGNORED
        labels_BT[row, one.inputs["input_ids"].shape[1] :] = IGNORED
    return Batch(inputs, labels_BT)
