"""Networks for sequences, tokens and tables. T time steps or tokens, F features, V vocabulary."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it


class RowLSTM(nn.Module):
    """Reads an image row by row and classifies it from the last state."""

    def __init__(self, hidden: int = 48, dropout: float = 0.0) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, hidden, batch_first=True)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(hidden, 10)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """logits_BK."""
        state, _ = self.lstm(x_BCHW[:, 0])
        logits_BK: Tensor = self.head(self.dropout(state[:, -1]))
        return logits_BK


class CharacterLSTM(nn.Module):
    """Predicts each next character."""

    def __init__(self, vocabulary: int, hidden: int = 128, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 32)
        self.lstm = nn.LSTM(32, hidden, batch_first=True)
        self.dropout, self.head = nn.Dropout(dropout), nn.Linear(hidden, vocabulary)

    def forward(self, token_BT: Tensor) -> Tensor:
        """logits_BTV."""
        state, _ = self.lstm(self.embed(token_BT))
        logits_BTV: Tensor = self.head(self.dropout(state))
        return logits_BTV


class TokenMLP(nn.Module):
    """The mean of token embeddings (0 is padding), then an MLP."""

    def __init__(self, vocabulary: int = 2048, width: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width, padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 2))

    def forward(self, token_BT: Tensor) -> Tensor:
        """logits_BK."""
        present_BT1 = (token_BT != 0).unsqueeze(-1)
        logits_BK: Tensor = self.layers((self.embed(token_BT) * present_BT1).sum(1) / present_BT1.sum(1).clamp(min=1))
        return logits_BK


class TableMLP(nn.Module):
    """Two hidden layers over a row of numbers."""

    def __init__(self, features: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, 64), nn.ReLU(), nn.Dropout(dropout), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, classes)
        )

    def forward(self, x_BF: Tensor) -> Tensor:
        """logits_BK."""
        out: Tensor = self.layers(x_BF)
        return out


class ForwardForward(nn.Module):
    """Hinton's forward-forward network (https://arxiv.org/abs/2212.13345): layers that learn one by one.

    The label is written over the first ten inputs; each layer learns to score right labels above wrong ones. Its goodness is its
    mean squared activity.
    """

    threshold = 2.0

    def __init__(self, features: int = 64, width: int = 128, layers: int = 2) -> None:
        super().__init__()
        sizes = [features, *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    @staticmethod
    def with_label(x_BF: Tensor, label_B: Tensor) -> Tensor:
        """The input with its label written into it."""
        marked = x_BF.clone()
        marked[:, :10] = F.one_hot(label_B, 10).to(x_BF.dtype)
        return marked

    def forward(self, x_BF: Tensor) -> Tensor:
        """The goodness of each layer: goodness_BL."""
        goodness = []
        for layer in self.layers:
            # The length is taken out and no gradient goes back: the next layer sees only the direction.
            x_BF = F.relu(layer(F.normalize(x_BF.detach(), dim=1) * 8.0))
            goodness.append(x_BF.square().mean(1))
        return torch.stack(goodness, 1)

    def loss(self, x_BF: Tensor, label_B: Tensor, wrong_B: Tensor) -> Tensor:
        """High goodness for right labels, low for wrong ones, in every layer by itself."""
        good_BL, bad_BL = self(self.with_label(x_BF, label_B)), self(self.with_label(x_BF, wrong_B))
        return F.softplus(torch.cat([self.threshold - good_BL, bad_BL - self.threshold])).mean(0).sum()

    def predict(self, x_BF: Tensor) -> Tensor:
        """The label with the most goodness."""
        each = [self(self.with_label(x_BF, torch.full((len(x_BF),), label))).sum(1) for label in range(10)]
        return torch.stack(each, 1).argmax(1)
