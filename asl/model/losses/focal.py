"""Focal loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from asl.config.setting import setting
from asl.model.losses.base import LossSettings


@dataclass(kw_only=True)
class Focal(LossSettings):
    """Focal loss with label smoothing."""

    gamma: float = setting(2.0, "how strongly well-classified clips are down-weighted", ge=0)

    name = "focal"

    def build(self) -> nn.Module:
        return FocalLoss(gamma=self.gamma, label_smoothing=self.label_smoothing)


class FocalLoss(nn.Module):
    """Focal loss (Lin et al., ICCV 2017): cross entropy that down-weights well-classified clips.

    Equation 4 of the paper for many classes: ``(1 - p)^gamma * cross entropy``, where ``p`` is the
    probability of the true class. With ``gamma=0`` it is cross entropy.

    Args:
        gamma: focusing parameter; the larger, the less well-classified clips count.
        label_smoothing: share of the target that is spread over all classes.
    """

    def __init__(self, *, gamma: float = 2.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.label_smoothing = gamma, label_smoothing

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` and labels ``(B,)`` int64 -> mean over the batch ``()``."""
        cross_entropy = F.cross_entropy(logits, label, reduction="none", label_smoothing=self.label_smoothing)
        missed = 1 - logits.softmax(dim=1).gather(1, label[:, None]).squeeze(1)
        return (missed.clamp(min=0) ** self.gamma * cross_entropy).mean()
