"""Lets byte items through to the planner only when unpickling them can't run foreign code.

Torch's default planner unpickles byte items without restriction (`torch.load(..., weights_only=False)`). The bytes are looked
at first: data (numbers, texts, containers, numpy arrays, random states, dates, paths, enumerations …) and classes that the user
allows pass, everything else must load under torch's own allow-list (`torch.serialization.add_safe_globals` extends it).
"""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from typing import Literal

import torch

from millrace.checkpoint.formats.pickle_machine import MalformedPickle
from millrace.checkpoint.formats.pickle_scan import excess_in
from millrace.checkpoint.formats.value_pickle import ValueMachine


@dataclass(frozen=True)
class Refusal:
    """Why a byte item must not reach an unrestricted unpickler."""

    kind: Literal["foreign", "damaged"]
    """`foreign`: it needs code or classes outside `allow`; it may be sound. `damaged`: it can't be read at all."""
    why: str


def refusal(data: bytes, allow: tuple[type, ...] = ()) -> Refusal | None:
    """Why a byte item must not reach an unrestricted unpickler; None: it may.

    Covers: pickles that name anything outside the allow-lists, TorchScript archives, legacy formats, what is no `torch.save`
    stream at all. Does not cover: in legacy formats, objects that are expensive rather than hostile.
    """
    try:
        pickled = _pickle_of(data)
    except RuntimeError as error:
        return Refusal("damaged", f"damaged: {_first_sentence(str(error))}")
    if pickled is not None:
        try:
            ValueMachine(pickled, allow).run()
        except MalformedPickle:
            excess = excess_in(pickled)
        else:
            return None
        if excess:
            return Refusal("damaged", f"damaged: {excess}, in a pickle of {len(pickled)} bytes")
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        text = str(error)
        kind: Literal["foreign", "damaged"] = "foreign" if "GLOBAL" in text or "class" in text else "damaged"
        return Refusal(kind, f"refused, nothing was run: {_first_sentence(text)}")
    except Exception as error:  # noqa: BLE001 - damaged bytes can raise anything
        return Refusal("damaged", f"damaged or not saved by torch: {type(error).__name__}: {_first_sentence(str(error))}")
    return None


def _pickle_of(data: bytes) -> bytes | None:
    """The pickle in a `torch.save` archive; None where it is another format. Raises RuntimeError: the archive is damaged."""
    if data[:4] != b"PK\x03\x04":
        return None
    archive = torch._C.PyTorchFileReader(io.BytesIO(data))
    if "constants.pkl" in archive.get_all_records():
        return None
    return bytes(archive.get_record("data.pkl"))


def _first_sentence(text: str) -> str:
    for line in text.splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip()[:300]
    return text.strip().split("\n")[0][:300]
