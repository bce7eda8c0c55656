"""Which weights are trained, how they are spread over processes, and the folder that they end in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from millrace.errors import InputError
from millrace.llm.providers.huggingface import Options, TransformersEngine
from millrace.records.improve import ChatTraining


class Weights(NamedTuple):
    """A model in training, and where it came from."""

    model: Any
    engine: TransformersEngine
    name: str
    options: Options


def prepared(model: Any, spec: ChatTraining, *, world: int, computed_in: str) -> Any:
    """The model with what is to be trained switched on, and everything else off.

    Args:
        model: a `PreTrainedModel`.
        spec: method, layers, whether weights are cut over the processes.
        world: processes.
        computed_in: `float32` or `bfloat16`: what cut weights are gathered in.

    Raises:
        InputError: a name in `lora_targets` or `frozen` fits nothing in the model.
    """
    if spec.save_memory:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model = _with_adapters(model, spec) if spec.method == "lora" else _frozen(model, spec.frozen)
    if spec.sharded and world > 1:
        _cut(model, computed_in)
    return model


def trained_parameters(model: Any) -> list[Any]:
    """Those that the optimizer changes."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def saved(weights: Weights, spec: ChatTraining, folder: Path, *, first: bool) -> None:
    """Write the trained model and its processor into `folder`, in the base's own dtype.

    Args:
        weights: the trained model.
        spec: how it was trained.
        folder: an empty folder.
        first: this process writes; the others only hand over their parts of cut weights.
    """
    import torch

    model = weights.model
    if spec.sharded and torch.distributed.is_initialized():
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if not first:
            return
        fresh = TransformersEngine(weights.name, weights.options.model_copy(update={"device": "cpu", "dtype": "float32"})).model
        model = prepared(fresh, spec, world=1, computed_in="float32")
        model.load_state_dict(whole)
    if not first:
        return
    if spec.method == "lora":
        model = model.merge_and_unload()
    dtype = _stored_in(weights)
    model.to(dtype).save_pretrained(folder)
    weights.engine.processor.save_pretrained(folder)


def _with_adapters(model: Any, spec: ChatTraining) -> Any:
    import peft

    names = list(spec.lora_targets) or language_layers(model)
    for name in spec.lora_targets:
        if not any(layer == name or layer.endswith(f".{name}") for layer, _ in model.named_modules()):
            raise InputError(f"the model has no layer '{name}'; correct improve.trainer.lora_targets")
    adapters = peft.LoraConfig(
        r=spec.lora_rank, lora_alpha=spec.lora_alpha, lora_dropout=spec.lora_dropout, target_modules=names, bias="none"
    )
    return peft.get_peft_model(model, adapters)


def language_layers(model: Any) -> list[str]:
    """Names of the linear layers of the language model, without the one that gives the words."""
    import torch

    decoder = model.get_decoder()
    inside = {id(module) for module in decoder.modules()}
    head = id(model.get_output_embeddings())
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and id(module) in inside and id(module) != head
    ]


def _frozen(model: Any, pieces: Iterable[str]) -> Any:
    weights = dict(model.named_parameters())
    for piece in pieces:
        fitting = [weight for name, weight in weights.items() if piece in name]
        if not fitting:
            raise InputError(f"no weight of the model has '{piece}' in its name; correct improve.trainer.frozen")
        for weight in fitting:
            weight.requires_grad_(False)
    if not trained_parameters(model):
        raise InputError("improve.trainer.frozen leaves no weight to train")
    return model


def _cut(model: Any, computed_in: str) -> None:
    """FSDP2: every layer that the model says is not to be divided, then the rest (torch.distributed.fsdp.fully_shard)."""
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16 if computed_in == "bfloat16" else None)
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = set(getattr(inner, "_no_split_modules", None) or ())
    for module in model.modules():
        if type(module).__name__ in layers:
            fully_shard(module, mp_policy=policy)
    fully_shard(model, mp_policy=policy)


def _stored_in(weights: Weights) -> Any:
    """The dtype of the base's files, as its config says."""
    import torch
    import transformers

    known: dict[str, Any] = {"revision": weights.options.revision, "trust_remote_code": weights.options.trust_remote_code}
    if weights.options.gguf_file is not None:
        known["gguf_file"] = weights.options.gguf_file
    said = getattr(transformers.AutoConfig.from_pretrained(weights.name, **known), "dtype", None)
    return said if isinstance(said, torch.dtype) else torch.float32
