"""Forward-forward learning on handwritten digits: layers that learn without a backward pass through the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=15, lr=0.005, batch_size=32, seed=1)
METRICS = ("test_accuracy", "test_error", "train_error")
SCALES = False


def build(plan: JobPlan) -> Job:
    """Each layer has its own loss; wrong labels are drawn anew for every batch."""
    import torch
    from torch import Tensor, nn

    from millrace.training.nets.data import digits
    from millrace.training.nets.sequences import ForwardForward
    from millrace.training.trainer.job import Batch, Job

    x_BCHW, label_B, test_BCHW, test_label_B = digits(plan.max_samples, plan.device)
    x_BF, test_BF = x_BCHW.flatten(1), test_BCHW.flatten(1)
    model = ForwardForward().to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    generator = torch.Generator().manual_seed(plan.seed)

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        image_BF, digit_B = batch
        other_B = torch.randint(1, 10, digit_B.shape, generator=generator).to(digit_B.device)
        return model.loss(image_BF, digit_B, (digit_B + other_B) % 10)

    def evaluate(net: nn.Module) -> dict[str, float]:
        right = float((model.predict(test_BF) == test_label_B).double().mean())
        train = float((model.predict(x_BF[:300]) == label_B[:300]).double().mean())
        return {"test_accuracy": right, "test_error": 1.0 - right, "train_error": 1.0 - train}

    return Job(model, optimizer, (x_BF, label_B), plan.batch_size, loss, evaluate, plan.seed)
