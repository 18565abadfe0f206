"""The base class of losses. ``loss=...`` selects one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from asl.config.setting import setting

if TYPE_CHECKING:
    from torch import nn

    from asl.model.losses.smoothing import SmoothedCrossEntropy


@dataclass(kw_only=True)
class LossSettings:
    """Settings of a loss. Each loss has a subclass and a YAML file in ``conf/loss``."""

    label_smoothing: float = setting(0.1, "share of the target spread over all classes", ge=0, lt=1)
    similarity: str | None = setting(
        None, "square CSV file of glosses; label smoothing is then spread by it; null: over all alike"
    )

    name = ""  # shown in tables
    MOVED_KEYS: ClassVar[dict[str, str]] = {"name": "Choose a loss with loss=...; --help lists them"}

    def problems(self) -> Iterator[str]:
        """Yield a message if the YAML file of the choice names no class, and for a file without effect."""
        if type(self) is LossSettings:
            yield "loss: the YAML file of this choice must name a class: _target_: module.Class"
        if self.similarity is not None and self.label_smoothing == 0:
            yield f"loss.similarity={self.similarity}: needs loss.label_smoothing, such as 0.1, which is 0"

    def cross_entropy(self, glosses: Sequence[str], *, reduction: str = "mean") -> SmoothedCrossEntropy:
        """Build cross entropy with the label smoothing of these settings, of which losses are made.

        Args:
            glosses: by label.
            reduction: ``mean`` over the batch, or ``none``.

        Raises:
            ConfigError: the file ``similarity`` cannot be used.
        """
        from asl.model.losses.smoothing import SmoothedCrossEntropy, read_similarity

        file = self.similarity
        similarity = None if file is None else read_similarity(Path(file), glosses)
        return SmoothedCrossEntropy(
            label_smoothing=self.label_smoothing, similarity=similarity, reduction=reduction
        )

    def build(self, glosses: Sequence[str]) -> nn.Module:
        """Build the loss: logits ``(B, num_classes)`` and labels ``(B,)`` -> mean over the batch ``()``.

        Args:
            glosses: by label.
        """
        raise NotImplementedError(f"{type(self).__name__}.build")
