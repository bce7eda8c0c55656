"""A training in progress: model, optimizer, batches, evaluation. What every workload builds and the worker drives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# B batch; the first dimension of every training tensor counts samples.

Batch = tuple[Tensor, ...]


@dataclass
class Job:
    """One training.

    `loss(model, batch)` is called on the model as wrapped for distribution, so it must go through `model(...)`.
    `update`, where given, does a whole training step by itself and returns its loss (forward-forward has no backward pass).
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    tensors: Batch
    batch_size: int
    loss: Callable[[nn.Module, Batch], Tensor]
    evaluate: Callable[[nn.Module], dict[str, float]]
    seed: int = 0
    schedule: torch.optim.lr_scheduler.LRScheduler | None = None
    augment: Callable[[Batch, torch.Generator], Batch] | None = None
    update: Callable[[Batch], Tensor] | None = None

    def batches(self, epoch: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """This rank's batches of `epoch`: a fresh order each epoch, the same on every rank, dealt out evenly.

        At most `world - 1` samples of an epoch are left out, other ones each time, so that all ranks take the same steps.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        count = len(self.tensors[0]) // world * world
        order = torch.randperm(len(self.tensors[0]), generator=generator)[:count][rank::world]
        for chosen in torch.split(order, self.batch_size):
            if len(chosen) < 2 and len(order) >= 2:
                continue  # batch normalisation cannot learn from one sample
            batch = tuple(tensor[chosen] for tensor in self.tensors)
            yield self.augment(batch, generator) if self.augment else batch

    def step(self, model: nn.Module, batch: Batch) -> Tensor:
        """Learn from one batch; returns its loss."""
        if self.update is not None:
            return self.update(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    @torch.inference_mode()
    def measure(self) -> dict[str, float]:
        """The metrics of the model as it is now."""
        self.model.eval()
        try:
            return self.evaluate(self.model)
        finally:
            self.model.train()


def classify(model: nn.Module, batch: Batch) -> Tensor:
    """Cross-entropy of a classifier: the loss of most workloads. `batch` is (input, label_B)."""
    *inputs, label_B = batch
    return nn.functional.cross_entropy(model(*inputs), label_B)


def accuracy_on(*tensors: Tensor, name: str = "test_accuracy") -> Callable[[nn.Module], dict[str, float]]:
    """An evaluation: the share of right answers on held-out (input, label_B), and their loss."""

    def evaluate(model: nn.Module) -> dict[str, float]:
        *inputs, label_B = tensors
        logits_BC = torch.cat([model(*parts) for parts in zip(*(torch.split(one, 512) for one in inputs), strict=True)])
        return {
            name: float((logits_BC.argmax(1) == label_B).double().mean()),
            "test_loss": float(nn.functional.cross_entropy(logits_BC, label_B)),
        }

    return evaluate
