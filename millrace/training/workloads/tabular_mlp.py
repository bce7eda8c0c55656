"""A small MLP on a medical table (569 tumours, 30 features): the fastest of the workloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=20, lr=0.005, batch_size=32, dropout=0.1)
METRICS = ("test_accuracy",)
SCALES = True


def build(plan: JobPlan) -> Job:
    """AdamW on standardised features."""
    import torch

    from millrace.training.nets.data import breast_cancer
    from millrace.training.nets.sequences import TableMLP
    from millrace.training.trainer.job import Job, accuracy_on, classify

    x_BF, label_B, test_BF, test_label_B = breast_cancer(plan.max_samples, plan.device)
    model = TableMLP(x_BF.shape[1], 2, plan.dropout).to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    return Job(model, optimizer, (x_BF, label_B), plan.batch_size, classify, accuracy_on(test_BF, test_label_B), plan.seed)
