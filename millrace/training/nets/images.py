"""Networks for images: the CIFAR ResNets, a small CNN, DenseNet-121. Input x_BCHW, output logits_BK or embedding_BD."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters (option A of He et al. 2015: subsample, pad channels with zeros)."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.stride, self.pad = stride, c_out - c_in
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(c_out)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """x + f(x)."""
        y_BCHW = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x_BCHW)))))
        shortcut = x_BCHW[:, :, :: self.stride, :: self.stride]
        if self.pad:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.pad // 2, self.pad - self.pad // 2))
        return F.relu(y_BCHW + shortcut)


class CifarResNet(nn.Module):
    """ResNet of depth 6n+2 with three stages of 16, 32, 64 channels (https://arxiv.org/abs/1512.03385, section 4.2)."""

    def __init__(self, depth: int, channels: int, classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        layers: list[nn.Module] = []
        c_in = 16
        for stage, c_out in enumerate((16, 32, 64)):
            for block in range(blocks):
                layers.append(BasicBlock(c_in, c_out, 2 if stage and block == 0 else 1))
                c_in = c_out
        self.stages = nn.Sequential(*layers)
        self.head = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """logits_BK."""
        logits_BK: Tensor = self.head(self.stages(F.relu(self.norm(self.conv(x_BCHW)))).mean((2, 3)))
        return logits_BK


class SmallCNN(nn.Module):
    """Two convolutions and two linear layers, the MNIST tutorial's shape for 8x8 images."""

    def __init__(self, out: int = 10, dropout: float = 0.25) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.hidden, self.out = nn.Linear(32 * 16, 64), nn.Linear(64, out)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """logits_BK or embedding_BD."""
        x = F.max_pool2d(F.relu(self.conv2(F.relu(self.conv1(x_BCHW)))), 2).flatten(1)
        out: Tensor = self.out(self.dropout(F.relu(self.hidden(self.dropout(x)))))
        return out


class DenseLayer(nn.Module):
    """BN-ReLU-1x1-BN-ReLU-3x3; its output joins its input."""

    def __init__(self, c_in: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Input and new channels together."""
        y = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x_BCHW))))))
        return torch.cat([x_BCHW, y], 1)


class DenseNet121(nn.Module):
    """DenseNet-121 (https://arxiv.org/abs/1608.06993: blocks of 6, 12, 24, 16 layers, growth 32) ending in an embedding.

    The stem is one 3x3 convolution: inputs here are 8 to 32 pixels wide, not 224.
    """

    def __init__(self, channels: int, embedding: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        growth, c = 32, 64
        layers: list[nn.Module] = [nn.Conv2d(channels, c, 3, padding=1, bias=False)]
        for block, count in enumerate((6, 12, 24, 16)):
            for _ in range(count):
                layers.append(DenseLayer(c, growth))
                c += growth
            if block < 3:
                layers += [nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c // 2, 1, bias=False), nn.AvgPool2d(2)]
                c //= 2
        self.features = nn.Sequential(*layers, nn.BatchNorm2d(c), nn.ReLU())
        self.dropout, self.embed = nn.Dropout(dropout), nn.Linear(c, embedding)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """embedding_BD of length 1."""
        return F.normalize(self.embed(self.dropout(self.features(x_BCHW).mean((2, 3)))), dim=1)
