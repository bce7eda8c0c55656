"""An LSTM that reads handwritten digits row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=10, lr=0.005, batch_size=32, dropout=0.0, seed=1)
METRICS = ("test_accuracy",)
SCALES = True


def build(plan: JobPlan) -> Job:
    """Adam on image rows as a sequence."""
    import torch

    from millrace.training.nets.data import digits
    from millrace.training.nets.sequences import RowLSTM
    from millrace.training.trainer.job import Job, accuracy_on, classify

    x_BCHW, label_B, test_BCHW, test_label_B = digits(plan.max_samples, plan.device)
    model = RowLSTM(dropout=plan.dropout).to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    return Job(model, optimizer, (x_BCHW, label_B), plan.batch_size, classify, accuracy_on(test_BCHW, test_label_B), plan.seed)
