"""What is measured on a split."""

from __future__ import annotations

from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy


class SplitMetrics(nn.Module):
    """Top-1, top-5 and mean loss over the clips of one split, of all ranks together.

    Top-5 is of as many glosses as there are, if fewer. The three are kept apart: a MetricCollection
    merges metrics whose first batch gave equal counts, as top-1 and top-5 may.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.top1 = MulticlassAccuracy(num_classes, average="micro")
        self.top5 = MulticlassAccuracy(num_classes, average="micro", top_k=min(5, num_classes))
        self.loss = MeanMetric()

    def update(self, logits: Tensor, label: Tensor, loss: Tensor) -> None:
        """``(B, num_classes)`` logits, ``(B,)`` labels and the mean loss of this batch; B at least 1."""
        self.top1.update(logits, label)
        self.top5.update(logits, label)
        self.loss.update(loss, weight=len(label))
