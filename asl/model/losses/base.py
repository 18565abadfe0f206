"""The base class of losses. ``loss=...`` selects one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from asl.config.setting import setting

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class LossSettings:
    """Settings of a loss. Each loss has a subclass and a YAML file in ``conf/loss``."""

    label_smoothing: float = setting(0.1, "share of the target spread over all classes", ge=0, lt=1)

    name = ""  # shown in tables
    MOVED_KEYS: ClassVar[dict[str, str]] = {"name": "Choose a loss with loss=...; --help lists them"}

    def problems(self) -> Iterator[str]:
        """Yield a message if the YAML file of the choice names no class."""
        if type(self) is LossSettings:
            yield "loss: the YAML file of this choice must name a class: _target_: module.Class"

    def build(self) -> nn.Module:
        """Build the loss: logits ``(B, num_classes)`` and labels ``(B,)`` -> mean over the batch ``()``."""
        raise NotImplementedError(f"{type(self).__name__}.build")
