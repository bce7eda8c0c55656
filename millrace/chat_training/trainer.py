"""A Hugging Face chat model, with or without eyes, trained on the very prompts that probing asks it: LoRA or all its weights.

For runs whose baseline is `{name: endpoint, chat: {provider: huggingface, model: …}}`. The result is a folder that the same
provider loads: adapters are merged into the weights.

improve:
  trainer: {name: huggingface, method: lora, processes: 4}
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from millrace.config import OPERATIONAL, Settings
from millrace.errors import InputError, UsageError
from millrace.probing.baselines import baseline_settings
from millrace.probing.ranks.launch import torchrun_command
from millrace.probing.settings import TorchrunSettings
from millrace.records.improve import ChatTraining, TrainingJob
from millrace.records.record import PluginChoice
from millrace.run.journal import write_json

FORMAT = "records"
PROVIDER = "huggingface"
OF_THE_BASE_ALONE = ("revision", "gguf_file")
"""Options that say which weights of the base; the trained folder has one set."""


class TrainerSettings(Settings):
    """How a Hugging Face model is trained on. Values are starting points for some hundred to some thousand records, not tuned for
    any model."""

    name: Literal["huggingface"] = "huggingface"
    """Which trainer."""
    method: Literal["lora", "full"] = "lora"
    """`lora` trains small matrices beside the weights (Hu et al. 2021; peft) and merges them at the end; `full` all weights."""
    rate: float = Field(default=1e-4, gt=0.0)
    """The learning rate at the top. `full` usually wants a tenth of what `lora` does."""
    warm_up: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the steps in which the rate rises from 0; then it falls as a cosine to 0."""
    weight_decay: float = Field(default=0.0, ge=0.0)
    """AdamW's."""
    clip: PositiveFloat = 1.0
    """Longest gradient (2-norm over all weights)."""
    lora_rank: PositiveInt = 16
    """Columns of the small matrices."""
    lora_alpha: PositiveInt = 32
    """Their weight is this divided by the rank."""
    lora_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of their inputs that is left out in training."""
    lora_targets: tuple[str, ...] = ()
    """Names of the layers they stand beside (`q_proj`, …). Empty: every linear layer of the language model but the last."""
    frozen: tuple[str, ...] = ()
    """With `full`: parts of the model that stay as they are, by a piece of their parameters' names (`vision_tower`)."""
    records_per_pass: PositiveInt = Field(default=4, json_schema_extra=OPERATIONAL)
    """Records in one forward pass of a process; a step adds up as many passes as it needs."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """What is computed in: auto takes bfloat16 on a GPU, float32 on a CPU. Trained weights are float32 until the end, then saved
    as the base's are."""
    save_memory: bool = Field(default=False, json_schema_extra=OPERATIONAL)
    """Compute activations anew in the backward pass instead of keeping them: slower by about a third, much less memory."""
    processes: PositiveInt = Field(default=1, json_schema_extra=OPERATIONAL)
    """Processes under torchrun that share every step's records; with GPUs, one for each."""
    sharded: bool = Field(default=False, json_schema_extra=OPERATIONAL)
    """Cut weights, gradients and the optimizer's state over the processes (FSDP2), for models that do not fit into one GPU."""
    time_limit_s: PositiveFloat = Field(default=86_400.0, json_schema_extra=OPERATIONAL)
    """A training that takes longer is stopped, and the run fails."""


def check(settings: TrainerSettings, base: Mapping[str, Any], arms: Sequence[str], seeds: int) -> None:
    """See `Plugin.check`."""
    del arms, seeds
    chat = base.get("chat")
    provider = chat.get("provider", "openai_compatible") if isinstance(chat, Mapping) else None
    if base.get("name", "embedded") != "endpoint" or provider != PROVIDER:
        what = f"a model behind '{provider}'" if provider else f"'{base.get('name', 'embedded')}'"
        raise UsageError(
            f"the trainer 'huggingface' trains a model that probing loaded itself (baseline endpoint, provider huggingface), and "
            f"this run's is {what}; set improve.trainer.name to command (your own training) or given (models that are there)"
        )
    for library in ("torch", "transformers", *(("peft",) if settings.method == "lora" else ())):
        if importlib.util.find_spec(library) is None:
            raise UsageError(f"the trainer 'huggingface' needs {library}: pip install 'millrace[huggingface]'")
    if settings.frozen and settings.method == "lora":
        raise UsageError("improve.trainer.frozen is for method: full; with lora only the matrices beside the weights are trained")


def command(settings: TrainerSettings, job: TrainingJob) -> list[str]:
    """See `Plugin.command`."""
    folder = Path(job.folder)
    how = settings.model_dump(mode="json", exclude={"name", "processes", "time_limit_s"})
    write_json(folder / "chat_training.json", ChatTraining(job=job, **how))
    launch = TorchrunSettings(nproc_per_node=settings.processes, max_restarts=0, rdzv_id=f"improve-{job.name}")
    return torchrun_command(
        launch, folder / "ranks", ["-m", "millrace.chat_training.program", str(folder / "chat_training.json")]
    )


def model(settings: TrainerSettings, job: TrainingJob) -> PluginChoice:
    """See `Plugin.model`."""
    del settings
    result = Path(job.result)
    if not (result / "config.json").is_file() or not any(result.glob("*.safetensors")):
        raise InputError(f"there is no model in {result}")
    kept = baseline_settings(job.base).model_dump(mode="json")
    chat = kept["chat"]
    options = {name: value for name, value in chat["options"].items() if name not in OF_THE_BASE_ALONE}
    return {**kept, "chat": {**chat, "model": job.result, "options": options}}


def seconds(settings: TrainerSettings, steps: int, records: int) -> None:
    """None: it depends on the model and the machine."""
    del settings, steps, records


def time_limit_s(settings: TrainerSettings) -> float:
    """See `Plugin.time_limit_s`."""
    return settings.time_limit_s
