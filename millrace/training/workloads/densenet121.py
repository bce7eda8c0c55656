"""DenseNet-121 as an embedding network, measured by retrieval: Rank@1, Rank@5, mAP (ten identities, the digits)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.parameters import Parameter
from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

PARAMETERS = parameters(epochs=6, lr=0.0005, batch_size=32, dropout=0.0, seed=1334) | {
    "max_samples": Parameter(type="int", default=320)
}
METRICS = ("rank1", "rank5", "map")
SCALES = True


def build(plan: JobPlan) -> Job:
    """Batch-hard triplets; the test images look for their digit among the training images."""
    import torch
    from torch import Tensor, nn

    from millrace.training.nets.data import digits
    from millrace.training.nets.images import DenseNet121
    from millrace.training.nets.retrieval import ranking, triplet_loss
    from millrace.training.trainer.job import Batch, Job

    x_BCHW, label_B, test_BCHW, test_label_B = digits(plan.max_samples, plan.device)
    model = DenseNet121(x_BCHW.shape[1], dropout=plan.dropout).to(plan.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=plan.lr, weight_decay=plan.weight_decay)
    query_BCHW, query_label_B = test_BCHW[:100], test_label_B[:100]

    def loss(net: nn.Module, batch: Batch) -> Tensor:
        image_BCHW, digit_B = batch
        return triplet_loss(net(image_BCHW), digit_B)

    def evaluate(net: nn.Module) -> dict[str, float]:
        gallery = torch.cat([net(part) for part in torch.split(x_BCHW, 256)])
        return ranking(net(query_BCHW), query_label_B, gallery, label_B)

    return Job(model, optimizer, (x_BCHW, label_B), plan.batch_size, loss, evaluate, plan.seed)
