"""An MLP over the tokens of Python functions: does a function raise? (A pipeline check, not vulnerability detection.)"""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=10, lr=0.003, batch_size=32, dropout=0.1)
METRICS = ("test_accuracy",)
SCALES = True


def build(plan: JobPlan) -> Job:
    """AdamW on functions of the standard library."""
    import torch

    from millrace.training.nets.data import split_functions
    from millrace.training.nets.sequences import TokenMLP
    from millrace.training.trainer.job import Job, accuracy_on, classify

    token_BT, label_B, test_BT, test_label_B = split_functions(plan.max_samples, plan.device)
    model = TokenMLP(dropout=plan.dropout).to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    return Job(model, optimizer, (token_BT, label_B), plan.batch_size, classify, accuracy_on(test_BT, test_label_B), plan.seed)
