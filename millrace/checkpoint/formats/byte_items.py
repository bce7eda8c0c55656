"""Lets byte items through to the planner only when unpickling them can't run foreign code.

Torch's default planner unpickles byte items without restriction (`torch.load(..., weights_only=False)`). The bytes are looked
at first: plain data (numbers, strings, containers) passes at once, everything else must load under torch's own allow-list
(`torch.serialization.add_safe_globals` extends it).
"""

from __future__ import annotations

import io
import pickle
import pickletools
from functools import lru_cache

import torch

_CALLING = {
    "GLOBAL",
    "STACK_GLOBAL",
    "INST",
    "OBJ",
    "NEWOBJ",
    "NEWOBJ_EX",
    "REDUCE",
    "BUILD",
    "EXT1",
    "EXT2",
    "EXT4",
    "PERSID",
    "BINPERSID",
}
"""Opcodes that find, call or change something; a pickle without them is data."""


def refusal(data: bytes) -> str | None:
    """Why a byte item must not reach an unrestricted unpickler; None: it may.

    Covers: pickles that name anything outside torch's allow-list, TorchScript archives, legacy formats, what is no
    `torch.save` stream at all. Does not cover: objects that are expensive rather than hostile.
    """
    if _is_plain_archive(data):
        return None
    try:
        torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        return f"refused, nothing was run: {_first_sentence(str(error))}"
    except Exception as error:  # noqa: BLE001 - damaged bytes can raise anything
        return f"damaged or not saved by torch: {type(error).__name__}: {_first_sentence(str(error))}"
    return None


def _is_plain_archive(data: bytes) -> bool:
    if data[:4] != b"PK\x03\x04":
        return False
    try:
        archive = torch._C.PyTorchFileReader(io.BytesIO(data))
        if "constants.pkl" in archive.get_all_records():
            return False
        return _is_plain_pickle(archive.get_record("data.pkl"))
    except (RuntimeError, ValueError):
        return False


@lru_cache(maxsize=256)
def _is_plain_pickle(data: bytes) -> bool:
    try:
        return all(opcode.name not in _CALLING for opcode, _, _ in pickletools.genops(data))
    except (ValueError, IndexError):
        return False


def _first_sentence(text: str) -> str:
    for line in text.splitlines():
        if "GLOBAL" in line or "Unsupported" in line:
            return line.strip()[:300]
    return text.strip().split("\n")[0][:300]
