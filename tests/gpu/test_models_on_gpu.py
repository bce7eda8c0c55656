"""A model under test and a chat model on the GPU answer as they do on the CPU, but for the last digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import millrace
from millrace.llm import Request, user
from millrace.llm.open_chat import open_chat
from millrace.llm.settings import ModelSettings
from millrace.records.outcome import PROBED_CLAIM, OutcomeRecord
from millrace.run.journal import read_records
from tests.gpu.needs_gpu import DEVICE, needs_gpu
from tests.llm.servers import run
from tests.llm.test_huggingface_model import checkpoint

pytestmark = [needs_gpu, pytest.mark.timeout(280)]

__all__ = ["checkpoint"]

QUICK = {"name": "embedded", "scenes": 300, "epochs": 1.0}
"""A baseline that has learned for seconds; the same one for both devices, from the cache."""
SAME_SHARE = 0.98
"""Of the outcomes: sums in another order turn some answers that were nearly even."""


def probed(folder: Path, device: str, baseline: dict[str, Any]) -> dict[str, str]:
    pytest.importorskip("sklearn", reason="the embedded digits need the extra `digits`")
    ranks = {"nproc_per_node": 1, "device": device}
    millrace.probe(folder, sample_size=60, target_failure_count=None, lake={"images": 60}, baseline=baseline, torchrun=ranks)
    shards = sorted((folder / "probing").glob("shard-*.jsonl"))
    lines = [line for shard in shards for line in read_records(shard, PROBED_CLAIM)]
    return {line.id: line.outcome.value for line in lines if isinstance(line, OutcomeRecord)}


def test_a_probed_model_fails_at_the_same_claims_on_both_devices(tmp_path: Path) -> None:
    cpu, gpu = probed(tmp_path / "cpu", "cpu", QUICK), probed(tmp_path / "gpu", DEVICE, QUICK)
    assert "infra_error" not in gpu.values()
    assert cpu.keys() == gpu.keys()
    assert sum(cpu[name] == gpu[name] for name in cpu) >= SAME_SHARE * len(cpu)


def test_a_hugging_face_model_on_the_gpu_says_what_it_says_on_the_cpu(checkpoint: Path) -> None:
    async def main() -> None:
        said = {}
        for device in ("cpu", DEVICE):
            options = {"device": device, "dtype": "float32"}
            chat = open_chat(ModelSettings(provider="huggingface", model=str(checkpoint), options=options), None)
            said[device] = [
                (await chat.complete(Request(messages=(user(text),), max_tokens=6))).text for text in ("one two", "three seven")
            ]
            await chat.close()
        assert said["cpu"] == said[DEVICE]

    run(main())
