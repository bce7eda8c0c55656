"""A Hugging Face model that sees, from its probing to the verdict: probed, trained in every arm, asked again, judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.improve import ImproveFlowConfig, stages
from millrace.improve.verification.figures_again import differing_figures
from millrace.llm import ImagePart
from millrace.probing.baselines import ClaimPrompt
from millrace.probing.baselines.endpoint import BaselineSettings, claim_request
from millrace.run.journal import read_json, read_jsonl
from millrace.run.local import open_local_run
from tests.improve.tiny_model import write_tiny_model

pytest.importorskip("transformers", reason="needs the optional extra: pip install millrace[huggingface]")
pytest.importorskip("peft", reason="needs the optional extra: pip install millrace[huggingface]")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_model_that_sees_is_probed_trained_and_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ranks = {"nproc_per_node": 1}
    chat = {"provider": "huggingface", "model": str(tmp_path / "model"), "options": {"device": "cpu", "dtype": "float32"}}
    baseline = {"name": "endpoint", "chat": chat, "max_tokens": 64}
    prompt = ClaimPrompt("c", "the [DIGIT]", {"DIGIT": []})
    asked = claim_request(BaselineSettings.model_validate(baseline), ImagePart(data=b""), prompt)
    write_tiny_model(tmp_path / "model", [message.text for message in asked.messages], answers_end=True)
    config = ImproveFlowConfig.model_validate(
        {
            "cluster": "none",
            "probing": {
                "lake": {"images": 12},
                "sample_size": 12,
                "target_failure_count": None,
                "baseline": baseline,
                "enabled_claims": ["concept_single_object", "counting_object_instances"],
                "torchrun": ranks,
            },
            "improve": {
                "arms": ["targeted"],
                "images": 3,
                "records_per_image": 1,
                "steps": 1,
                "images_per_step": 2,
                "seeds": 2,
                "test": {"images": 3},
                "trainer": {"name": "huggingface", "rate": 0.001},
            },
        }
    )
    run = tmp_path / "run"
    with open_local_run("improve", {stage.section: stage.config for stage in stages(config)}, run) as here:
        for stage in stages(config):
            here.do(stage)
    summary = read_json(run / "improve" / "summary.json")
    assert (summary["verdict"], summary["models"], summary["dropped"]) == ("no_evidence", 2, {})
    for name in ("targeted-0", "targeted-1"):
        result = run / "improve" / "trainings" / name / "model"
        trained = read_json(result.parent / "trained.json")
        assert trained["model"] == {**trained["model"], "name": "endpoint", "max_tokens": 64}
        assert trained["model"]["chat"]["model"] == str(result)
        assert (result / "model.safetensors").read_bytes() != (tmp_path / "model" / "model.safetensors").read_bytes()
        asked = [line for file in (run / "improve" / "probes" / name).glob("shard-*.jsonl") for line in read_jsonl(file)]
        assert {line["baseline"]["name"] for line in asked if line["kind"] == "outcome"} == {str(result)}
    checked, differing = differing_figures(run)
    assert checked >= 50
    assert differing == []
