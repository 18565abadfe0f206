"""Focal loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from asl.config.setting import setting
from asl.model.losses.base import LossSettings
from asl.model.losses.smoothing import SmoothedCrossEntropy


@dataclass(kw_only=True)
class Focal(LossSettings):
    """Focal loss with label smoothing."""

    gamma: float = setting(2.0, "how strongly well-classified clips are down-weighted", ge=0)

    name = "focal"

    def build(self, glosses: Sequence[str]) -> nn.Module:
        return FocalLoss(self.cross_entropy(glosses, reduction="none"), gamma=self.gamma)


class FocalLoss(nn.Module):
    """Focal loss (Lin et al., ICCV 2017): cross entropy that down-weights well-classified clips.

    Equation 4 of the paper for many classes: ``(1 - p)^gamma * cross entropy``, where ``p`` is the
    probability of the true class. With ``gamma=0`` it is cross entropy.

    Args:
        cross_entropy: of each clip.
        gamma: focusing parameter; the larger, the less well-classified clips count.
    """

    def __init__(self, cross_entropy: SmoothedCrossEntropy, *, gamma: float) -> None:
        super().__init__()
        self.cross_entropy, self.gamma = cross_entropy, gamma

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` and labels ``(B,)`` int64 -> mean over the batch ``()``."""
        missed = 1 - logits.softmax(dim=1).gather(1, label[:, None]).squeeze(1)
        return (missed.clamp(min=0) ** self.gamma * self.cross_entropy(logits, label)).mean()
