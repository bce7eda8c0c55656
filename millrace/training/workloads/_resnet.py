"""What the four ResNets share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.training.parameters import Parameter
from millrace.training.workloads import JobPlan, parameters

if TYPE_CHECKING:
    from millrace.training.trainer.job import Job

METRICS = ("test_accuracy", "best_val_accuracy")


def resnet_parameters() -> dict[str, Parameter]:
    """Those of the original (lr 0.1, decay 1e-4, batch 128), with epochs for a small data set."""
    return parameters(epochs=12, lr=0.1, batch_size=64, weight_decay=1e-4, seed=1334)


def build_resnet(plan: JobPlan, depth: int) -> Job:
    """A ResNet of `depth` on CIFAR-10, where its folder is given, else on the digits."""
    import torch

    from millrace.training.nets.data import images
    from millrace.training.nets.images import CifarResNet
    from millrace.training.trainer.job import Job, accuracy_on, classify

    train_BCHW, label_B, test_BCHW, test_label_B = images(plan.data, plan.max_samples, plan.device)
    model = CifarResNet(depth, train_BCHW.shape[1]).to(plan.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=plan.lr, momentum=0.9, weight_decay=plan.weight_decay)
    measure = accuracy_on(test_BCHW, test_label_B)
    best = 0.0

    def evaluate(net: torch.nn.Module) -> dict[str, float]:
        nonlocal best
        found = measure(net)
        best = max(best, found["test_accuracy"])
        return found | {"best_val_accuracy": best}

    return Job(
        model,
        optimizer,
        (train_BCHW, label_B),
        plan.batch_size,
        classify,
        evaluate,
        seed=plan.seed,
        schedule=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(plan.epochs, 1)),
        augment=shift_and_mirror if plan.data is not None else None,
    )


def shift_and_mirror(batch, generator):  # type: ignore[no-untyped-def]
    """CIFAR's usual augmentation: shift by up to 4 pixels, mirror half of the images. Digits must not be mirrored."""
    import torch

    image_BCHW, label_B = batch
    if bool(torch.rand((), generator=generator) < 0.5):
        image_BCHW = image_BCHW.flip(3)
    dy, dx = (int(torch.randint(0, 9, (), generator=generator)) for _ in range(2))
    height, width = image_BCHW.shape[2:]
    padded = torch.nn.functional.pad(image_BCHW, (4, 4, 4, 4))
    return padded[:, :, dy : dy + height, dx : dx + width], label_B
