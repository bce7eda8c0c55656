"""What torchrun runs to train a Hugging Face model on: `torchrun … -m millrace.chat_training.program SPEC.json`.

Every step shows the images that `millrace.improve.steps` names, with all their records, to all processes together; each record
counts the same, and in it each token of the answer. AdamW, a rate that rises and then falls as a cosine to 0. How many processes
share a step changes only the last digits of its gradients. The model is left at the job's `result` by one rename, as a folder
that the provider `huggingface` loads. Prints `{"done", "total", "loss"}` lines. Exit codes: 0 there is a model, otherwise the
error's own.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from millrace.chat_training.examples import IGNORED, Batch, Encoded, Example, by_image, encode, examples_of, together
from millrace.chat_training.weights import Weights, prepared, saved, trained_parameters
from millrace.errors import MillraceError, RunFailed
from millrace.improve.steps import images_of_steps
from millrace.llm.images import encode_image
from millrace.llm.providers.huggingface import Options, TransformersEngine, device_of
from millrace.llm.settings import ImagePolicy
from millrace.probing.baselines.endpoint import BaselineSettings
from millrace.records.improve import ChatTraining, TrainingRecord
from millrace.run.journal import read_record, read_records

SAID_EVERY = 10
"""Steps between two lines of progress."""


class Rank(NamedTuple):
    """Which of the processes this is."""

    number: int
    of: int


def main() -> int:
    """Train; returns the exit code."""
    try:
        with ranks() as rank:
            train(read_record(Path(sys.argv[1]), ChatTraining), rank)
    except MillraceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the program's message
        return error.exit_code
    return 0


@contextmanager
def ranks() -> Iterator[Rank]:
    """This process among those that torchrun started; they find each other when there are several."""
    import torch
    from torch import distributed

    rank = Rank(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    if rank.of == 1:
        yield rank
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield rank
    finally:
        distributed.destroy_process_group()


def train(spec: ChatTraining, rank: Rank) -> None:
    """Read the base and the records, train, save.

    Raises:
        InputError: a record does not fit the claims or the model. RunFailed: the base cannot be loaded, or the loss is no number.
    """
    import torch

    job = spec.job
    base = BaselineSettings.model_validate(job.base)
    options = Options.model_validate(dict(base.chat.options))
    on_gpu = device_of(options.device, torch).startswith("cuda")
    computed_in = spec.dtype if spec.dtype != "auto" else "bfloat16" if on_gpu else "float32"
    kept_small = spec.method == "lora" and not spec.sharded and computed_in == "bfloat16"
    torch.manual_seed(job.seed % 2**63)
    engine = TransformersEngine(base.chat.model, options.model_copy(update={"dtype": "bfloat16" if kept_small else "float32"}))
    records = list(read_records(Path(job.dataset), TrainingRecord))
    groups = by_image(examples_of(records, Path(job.images), base, job.claims or None))
    model = prepared(engine.model, spec, world=rank.of, computed_in=computed_in)
    optimizer = torch.optim.AdamW(trained_parameters(model), lr=spec.rate, weight_decay=spec.weight_decay)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, job.steps, spec.warm_up))
    asks = Asks(engine, base.chat.images, _longest(engine.model), spec.records_per_pass)
    model.train()
    for number, chosen in enumerate(images_of_steps(len(groups), job), start=1):
        asked = [example for place in chosen for example in groups[place]]
        with torch.autocast("cuda" if on_gpu else "cpu", torch.bfloat16, enabled=computed_in == "bfloat16" and not spec.sharded):
            loss = add_gradients(model, asked, asks, rank, sharded=spec.sharded)
        if not math.isfinite(loss):
            raise RunFailed(f"the loss became {loss} in step {number}; a smaller improve.trainer.rate may help")
        torch.nn.utils.clip_grad_norm_(trained_parameters(model), spec.clip)
        optimizer.step()
        rates.step()
        optimizer.zero_grad()
        if rank.number == 0 and (number % SAID_EVERY == 0 or number == job.steps):
            _print({"done": number, "total": job.steps, "loss": round(loss, 4)})
    part = Path(f"{job.result}.part")
    if rank.number == 0:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
    saved(Weights(model, engine, base.chat.model, options), spec, part, first=rank.number == 0)
    if rank.number == 0:
        shutil.rmtree(job.result, ignore_errors=True)
        part.rename(job.result)


class Asks(NamedTuple):
    """What makes token ids and pixels of an example, and how many go into one pass."""

    engine: TransformersEngine
    images: ImagePolicy
    longest: int | None
    per_pass: int

    def encoded(self, example: Example) -> Encoded:
        """One example, its picture as the client sends it."""
        pictures = [b64decode(encode_image(part, self.images).base64) for part in example.request.messages[-1].images]
        return encode(example, self.engine, pictures, self.longest)


def add_gradients(model: Any, asked: Sequence[Example], asks: Asks, rank: Rank, *, sharded: bool) -> float:
    """The loss of a step's examples over all processes; its gradients are in the weights afterwards, the same in all processes.

    A step's loss is the mean over its examples of the mean negative log likelihood of an answer's tokens.
    """
    import torch
    from torch import distributed

    device = asks.engine.device
    mine = asked[rank.number :: rank.of]
    total = torch.zeros((), device=device)
    for first in range(0, math.ceil(len(asked) / rank.of), asks.per_pass):
        part = mine[first : first + asks.per_pass]
        if not part and not sharded:
            break  # cut weights are gathered by all processes together, so with them an idle one goes along
        batch = together([asks.encoded(example) for example in part or asked[:1]], asks.engine.tokenizer.pad_token_id)
        loss = answers_loss(model, batch, device) / len(asked) * bool(part)
        (loss * (rank.of if sharded else 1)).backward()  # sharded gradients are averaged over the processes
        total += loss.detach()
    if rank.of > 1:
        distributed.all_reduce(total)
        for weight in () if sharded else trained_parameters(model):
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
            distributed.all_reduce(weight.grad)
    return float(total)


def answers_loss(model: Any, batch: Batch, device: str) -> Any:
    """The sum over a batch's examples of the mean negative log likelihood of the answer's tokens, each given those before it."""
    from torch.nn import functional

    inputs = {name: value.to(device) for name, value in batch.inputs.items()}
    labels_BT = batch.labels_BT.to(device)[:, 1:]
    logits_BTV = model(**inputs, use_cache=False).logits[:, :-1].float()
    missed_BT = functional.cross_entropy(logits_BTV.transpose(1, 2), labels_BT, ignore_index=IGNORED, reduction="none")
    return (missed_BT.sum(1) / (labels_BT != IGNORED).sum(1)).sum()


def _rate(step: int, steps: int, warm_up: float) -> float:
    """Share of the highest rate in the step after `step` steps."""
    rising = warm_up * steps
    if step + 1 <= rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - rising) / (steps + 1 - rising)))


def _longest(model: Any) -> int | None:
    """Tokens that the model can read, where it says so."""
    said = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return said if isinstance(said, int) else None


def _print(event: dict[str, int | float]) -> None:
    sys.stdout.buffer.write(orjson.dumps(event) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
