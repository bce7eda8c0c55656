"""Settings of `checkpoint`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from millrace.checkpoint.engine.stalls import STALL_S
from millrace.config import OPERATIONAL, Settings

Action = Literal["read", "verify", "convert", "compare"]
Format = Literal["dcp", "safetensors", "torch_save"]


class ConvertSettings(Settings):
    """What `convert` makes of the checkpoint."""

    to: Path | None = None
    """Where the result goes: a new folder, or a new file for `torch_save`."""
    format: Format = "safetensors"
    """`dcp`: a torch.distributed.checkpoint folder; `safetensors`: a Hugging Face folder; `torch_save`: one file."""
    dtype: Literal["float32", "float16", "bfloat16", "float64"] | None = None
    """Cast floating-point tensors to it; null keeps each tensor's own."""
    shards: PositiveInt = 1
    """For `dcp`: files, and pieces along the first dimension that each tensor is cut into, as that many ranks would save it."""
    max_file_gb: PositiveFloat = 5.0
    """For `safetensors`: a new file is begun before one grows over so many GB."""
    objects: Literal["refuse", "drop"] = "refuse"
    """For `safetensors`, which holds tensors only: refuse a checkpoint with other values, or leave them out and say so."""
    check: Literal["none", "size", "crc"] = "crc"
    """What is checked of the source before anything is written: its structure, or also the sum of every value."""
    piece_mb: PositiveInt = Field(32, json_schema_extra=OPERATIONAL)
    """Memory for what is under way, in MiB: tensors larger than this are converted in pieces."""


class CheckpointConfig(Settings):
    """What is done with which checkpoint."""

    action: Action = "verify"
    """`read` loads it into memory and says how fast, `verify` looks for damage, `convert` writes another format, `compare` times
    torch's reader and this one on it."""
    path: Path | None = None
    """The checkpoint: a DCP folder, a safetensors folder, or for `convert` also a `torch.save` file."""
    threads: PositiveInt | None = Field(None, json_schema_extra=OPERATIONAL)
    """Reading threads per process; null: from cores and bytes."""
    stall_s: PositiveFloat | None = Field(STALL_S, json_schema_extra=OPERATIONAL)
    """End with the file's name when one read has had no answer for so many seconds (a dead network file system); null: wait."""
    check: Literal["none", "size", "crc"] = "size"
    """For `read`: what is checked before anything is loaded."""
    byte_items: Literal["error", "skip", "trusted"] = "skip"
    """Values whose unpickling could run foreign code (numbers, containers, numpy arrays, random states, dates, paths and
    enumerations never can): count them as damage, leave them out and say so, or trust them and let them run."""
    allow_globals: tuple[str, ...] = ()
    """Classes of your own that such values may be made of: `package.module.Class`."""
    seal: bool = False
    """For `verify`: when nothing is wrong, write the sums into the checkpoint; loads with `crc` then notice exchanged files."""
    repeats: PositiveInt = 3
    """For `compare`: how often each reader has its turn."""
    convert: ConvertSettings = ConvertSettings()
    """What `convert` makes."""
