"""Accuracy and loss over the clips of a split."""

from __future__ import annotations

import torch
from torch import Tensor

from asl.model.ranks import num_ranks


class SplitMetrics:
    """Top-1 accuracy, top-5 accuracy and mean loss over the clips of one split, of all ranks together.

    ``top1_clean`` and ``top5_clean`` are over its clean clips only; without any, they are 0. With fewer than
    five classes, top-5 is top-``num_classes``.

    Args:
        num_classes: number of glosses.
    """

    def __init__(self, num_classes: int) -> None:
        self._top5 = min(5, num_classes)
        # Of top1, top5, top1_clean, top5_clean and loss; then the numbers of clips and of clean clips.
        self._sums = torch.zeros(7, dtype=torch.float64)

    def update(self, logits: Tensor, label: Tensor, loss: Tensor, clean: Tensor) -> None:
        """Add a batch.

        Args:
            logits: ``(B, num_classes)``, B at least 1.
            label: ``(B,)`` int64.
            loss: ``()`` mean loss of the batch.
            clean: ``(B,)`` bool, which of the clips are clean.
        """
        top1 = logits.argmax(1) == label
        top5 = (logits.topk(self._top5).indices == label[:, None]).any(1)
        counts = [part.sum() for part in (top1, top5, top1 & clean, top5 & clean)]
        clips = torch.ones_like(label).sum()  # on the device, for which nothing waits here
        batch = torch.stack([*counts, loss.double() * clips, clips, clean.sum()])
        self._sums = self._sums.to(batch.device) + batch

    def compute(self, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """The metrics by name, equal on all ranks. All ranks must call this.

        Args:
            device: on which the ranks exchange tensors.
        """
        sums = self._sums.to(device, copy=True)
        if num_ranks() > 1:
            torch.distributed.all_reduce(sums)
        top1, top5, top1_clean, top5_clean, loss, clips, clean = sums
        return {
            "top1": top1 / clips,
            "top5": top5 / clips,
            "top1_clean": top1_clean / clean.clamp(min=1),
            "top5_clean": top5_clean / clean.clamp(min=1),
            "loss": loss / clips,
        }

    def reset(self) -> None:
        """Forget all batches."""
        self._sums = torch.zeros_like(self._sums)
