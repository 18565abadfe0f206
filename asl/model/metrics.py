"""Accuracy and loss over the clips of a split."""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

_IGNORED = -1  # instead of the label of a clip that does not count


class SplitMetrics(nn.Module):
    """Top-1 accuracy, top-5 accuracy and mean loss over the clips of one split, of all ranks together.

    ``top1_clean`` and ``top5_clean`` are over its clean clips only; without any, they are 0. With fewer than
    five classes, top-5 is top-``num_classes``. The metrics are not in a MetricCollection, because that merges
    metrics whose states are equal after the first batch, as top-1 and top-5 can be.

    Args:
        num_classes: number of glosses.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        top5 = min(5, num_classes)
        self.top1 = MulticlassAccuracy(num_classes, average="micro")
        self.top5 = MulticlassAccuracy(num_classes, average="micro", top_k=top5)
        self.top1_clean = MulticlassAccuracy(num_classes, average="micro", ignore_index=_IGNORED)
        self.top5_clean = MulticlassAccuracy(num_classes, average="micro", ignore_index=_IGNORED, top_k=top5)
        self.loss = MeanMetric()

    def update(self, logits: Tensor, label: Tensor, loss: Tensor, clean: Tensor) -> None:
        """Add a batch.

        Args:
            logits: ``(B, num_classes)``, B at least 1.
            label: ``(B,)`` int64.
            loss: ``()`` mean loss of the batch.
            clean: ``(B,)`` bool, which of the clips are clean.
        """
        self.top1.update(logits, label)
        self.top5.update(logits, label)
        clean_label = label.where(clean, _IGNORED)
        self.top1_clean.update(logits, clean_label)
        self.top5_clean.update(logits, clean_label)
        self.loss.update(loss, weight=len(label))
