"""What all losses have in common; ``loss=...`` chooses one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from asl.config.setting import setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class LossSettings:
    """A loss is a subclass with its own settings, and a YAML file."""

    label_smoothing: float = setting(0.1, "share of the target spread over all classes", ge=0, lt=1)

    name = ""  # how it is called in tables
    MOVED_KEYS: ClassVar[dict[str, str]] = {"name": "Choose a loss with loss=cross_entropy or loss=focal"}

    def build(self) -> nn.Module:
        """The loss: logits ``(B, num_classes)`` and labels ``(B,)`` -> scalar, the mean over the batch."""
        raise NotImplementedError(f"{type(self).__name__}.build")
