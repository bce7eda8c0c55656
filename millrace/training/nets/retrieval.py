"""Loss and retrieval measures (rank-1, mAP) of embedding networks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it


def triplet_loss(embedding_BD: Tensor, label_B: Tensor, margin: float = 0.3) -> Tensor:
    """Batch-hard triplets (https://arxiv.org/abs/1703.07737): the farthest of the same and the nearest of another identity."""
    distance_BB = 1.0 - embedding_BD @ embedding_BD.T
    same_BB = label_B[:, None] == label_B[None]
    farthest_B = distance_BB.masked_fill(~same_BB, -1.0).max(1).values
    nearest_B = distance_BB.masked_fill(same_BB, 3.0).min(1).values
    return F.relu(farthest_B - nearest_B + margin).mean()


def ranking(query_BD: Tensor, query_label_B: Tensor, gallery_ND: Tensor, gallery_label_N: Tensor) -> dict[str, float]:
    """Rank@1, Rank@5 and mean average precision of finding a query's identity in the gallery."""
    order_BN = (query_BD @ gallery_ND.T).argsort(1, descending=True)
    hit_BN = (gallery_label_N[order_BN] == query_label_B[:, None]).double()
    precision_BN = hit_BN.cumsum(1) / torch.arange(1, hit_BN.shape[1] + 1)
    average_B = (precision_BN * hit_BN).sum(1) / hit_BN.sum(1).clamp(min=1)
    return {
        "rank1": float(hit_BN[:, 0].mean()),
        "rank5": float((hit_BN[:, :5].sum(1) > 0).double().mean()),
        "map": float(average_B.mean()),
    }
