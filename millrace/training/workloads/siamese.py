"""A twin CNN that learns which digits are the same, from pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=10, lr=0.002, batch_size=32, dropout=0.0, seed=1)
METRICS = ("test_accuracy", "test_loss")
SCALES = True


def build(plan: JobPlan) -> Job:
    """AdamW on pairs, half of them of equal digits; contrastive loss with margin 1."""
    import torch
    from torch import Tensor, nn

    from millrace.training.nets.data import digits
    from millrace.training.nets.images import SmallCNN
    from millrace.training.trainer.job import Batch, Job

    x_BCHW, label_B, test_BCHW, test_label_B = digits(plan.max_samples, plan.device)
    model = SmallCNN(out=16, dropout=plan.dropout).to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)

    def pairs(image_BCHW: Tensor, digit_B: Tensor) -> Batch:
        generator = torch.Generator().manual_seed(plan.seed)
        partner = torch.randint(len(digit_B), digit_B.shape, generator=generator)
        for index in range(0, len(digit_B), 2):  # every second pair gets a partner of the same digit
            same = (digit_B == digit_B[index]).nonzero()[:, 0]
            partner[index] = same[int(torch.randint(len(same), (), generator=generator))]
        return torch.stack([image_BCHW, image_BCHW[partner]], 1), (digit_B == digit_B[partner]).float()

    def distance(net: nn.Module, pair_B2CHW: Tensor) -> Tensor:
        embedding = net(pair_B2CHW.flatten(0, 1)).unflatten(0, (-1, 2))
        gap: Tensor = (embedding[:, 0] - embedding[:, 1]).norm(dim=1)
        return gap

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        pair, same_B = batch
        gap_B = distance(net, pair)
        return (same_B * gap_B.square() + (1 - same_B) * (1.0 - gap_B).clamp(min=0).square()).mean()

    test = pairs(test_BCHW, test_label_B)

    def evaluate(net: nn.Module) -> dict[str, float]:
        right = (distance(net, test[0]) < 0.5).float() == test[1]
        return {"test_accuracy": float(right.double().mean()), "test_loss": float(loss(net, test))}

    return Job(model, optimizer, pairs(x_BCHW, label_B), plan.batch_size, loss, evaluate, plan.seed)
