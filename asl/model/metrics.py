"""Accuracy and loss over the clips of a split."""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy


class SplitMetrics(nn.Module):
    """Top-1 accuracy, top-5 accuracy and mean loss over the clips of one split, of all ranks together.

    With fewer than five classes, top-5 is top-``num_classes``. The metrics are not in a MetricCollection,
    because that merges metrics whose states are equal after the first batch, as top-1 and top-5 can be.

    Args:
        num_classes: number of glosses.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.top1 = MulticlassAccuracy(num_classes, average="micro")
        self.top5 = MulticlassAccuracy(num_classes, average="micro", top_k=min(5, num_classes))
        self.loss = MeanMetric()

    def update(self, logits: Tensor, label: Tensor, loss: Tensor) -> None:
        """Add a batch.

        Args:
            logits: ``(B, num_classes)``, B at least 1.
            label: ``(B,)`` int64.
            loss: ``()`` mean loss of the batch.
        """
        self.top1.update(logits, label)
        self.top5.update(logits, label)
        self.loss.update(loss, weight=len(label))
