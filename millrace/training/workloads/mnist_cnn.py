"""A small CNN on handwritten digits, as in the MNIST tutorials."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=10, lr=0.05, batch_size=32, dropout=0.25, seed=1)
METRICS = ("test_accuracy",)
SCALES = True


def build(plan: JobPlan) -> Job:
    """SGD with momentum on 8x8 digits."""
    import torch

    from millrace.training.nets.data import digits
    from millrace.training.nets.images import SmallCNN
    from millrace.training.trainer.job import Job, accuracy_on, classify

    x_BCHW, label_B, test_BCHW, test_label_B = digits(plan.max_samples, plan.device)
    model = SmallCNN(dropout=plan.dropout).to(plan.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=plan.lr, momentum=0.9, weight_decay=plan.weight_decay)
    return Job(model, optimizer, (x_BCHW, label_B), plan.batch_size, classify, accuracy_on(test_BCHW, test_label_B), plan.seed)
