"""Cross entropy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from asl.model.losses.base import LossSettings

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class CrossEntropy(LossSettings):
    """Cross entropy with label smoothing."""

    name = "cross_entropy"
    MOVED_KEYS: ClassVar[dict[str, str]] = {**LossSettings.MOVED_KEYS, "gamma": "It is a key of loss=focal"}

    def build(self) -> nn.Module:
        from torch import nn

        return nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)
