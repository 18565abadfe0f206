"""What is minimised."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class FocalLoss(nn.Module):
    """Cross entropy that turns clips down which the model already gets right.

    Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 4, for many classes:
    ``(1 - p)^gamma * cross entropy``, ``p`` the probability of the true class. ``gamma=0`` is cross
    entropy.
    """

    def __init__(self, *, gamma: float = 2.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.gamma, self.label_smoothing = gamma, label_smoothing

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """``(B, num_classes)`` logits and ``(B,)`` labels -> mean over the batch."""
        cross_entropy = F.cross_entropy(logits, label, reduction="none", label_smoothing=self.label_smoothing)
        missed = 1 - logits.softmax(dim=1).gather(1, label[:, None]).squeeze(1)
        return (missed.clamp(min=0) ** self.gamma * cross_entropy).mean()


def build_loss(name: str, *, label_smoothing: float, gamma: float) -> nn.Module:
    """``cross_entropy`` or ``focal``.

    Raises:
        ValueError: for another name.
    """
    if name == "cross_entropy":
        return nn.CrossEntropyLoss(label_smoothing=label_smoothing)
    if name == "focal":
        return FocalLoss(gamma=gamma, label_smoothing=label_smoothing)
    raise ValueError(f"name={name!r}: must be cross_entropy or focal")
