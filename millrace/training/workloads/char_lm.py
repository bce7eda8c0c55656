"""A character language model on the text of Python's standard library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=3, lr=0.003, batch_size=32, dropout=0.1)
METRICS = ("test_loss", "bits_per_character")
SCALES = True


def build(plan: JobPlan) -> Job:
    """AdamW on windows of 64 characters."""
    import math

    import torch
    from torch import Tensor, nn

    from millrace.training.nets.data import library_text
    from millrace.training.nets.sequences import CharacterLSTM
    from millrace.training.trainer.job import Batch, Job

    text = library_text()
    letters = sorted(set(text))
    index = {letter: number for number, letter in enumerate(letters)}
    code = torch.tensor([index[letter] for letter in text], device=plan.device)
    window_BT = code[: len(code) // 65 * 65].view(-1, 65)
    cut = len(window_BT) * 9 // 10
    train_BT, test_BT = window_BT[: min(plan.max_samples or cut, cut)], window_BT[cut:]
    model = CharacterLSTM(len(letters), dropout=plan.dropout).to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        (token_BT,) = batch
        return nn.functional.cross_entropy(net(token_BT[:, :-1]).flatten(0, 1), token_BT[:, 1:].flatten())

    def evaluate(net: nn.Module) -> dict[str, float]:
        found = float(loss(net, (test_BT,)))
        return {"test_loss": found, "bits_per_character": found / math.log(2)}

    return Job(model, optimizer, (train_BT,), plan.batch_size, loss, evaluate, plan.seed)
