"""What all networks have in common; ``model=...`` chooses one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from asl.config.setting import setting

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum

KINETICS = "kinetics400"


@dataclass(kw_only=True)
class NetworkSettings:
    """A network is a subclass with its own settings, and a YAML file."""

    weights: str | None = setting(None, "kinetics400, null (random), or a weights file")
    channels_last: bool = setting(True, "channels innermost in memory, with which GPUs and CPUs are faster")

    name = ""  # how it is called in checkpoints, tables and metrics.json
    MOVED_KEYS: ClassVar[dict[str, str]] = {"name": "Choose a network: model=r2plus1d, r3d or mc3"}

    def build(self, num_classes: int) -> nn.Module:
        """The network: ``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``."""
        raise NotImplementedError(f"{type(self).__name__}.build")

    def architecture(self) -> dict[str, Any]:
        """The settings that decide which function the network computes, beside its weights.

        They are stored in checkpoints, and a run cannot be resumed with others.
        """
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in _NOT_ARCHITECTURE
        }

    def kinetics_weights(self) -> WeightsEnum | None:
        """torchvision's Kinetics-400 weights for this network. None if there are none."""
        return None

    def tune_for_gpu(self, network: nn.Module) -> str | None:
        """Change ``network`` in place so that a GPU is faster with it, without changing its function.

        Returns:
            What was done, in words for the start table. None if nothing.
        """
        return None

    def training_bytes(
        self, *, batch_size: int, clip_len: int, crop_size: int, full_precision: bool
    ) -> int | None:
        """About how many bytes of a GPU's memory a training step takes. None if it is not known.

        Args:
            batch_size: clips a step and device.
            clip_len: frames a clip.
            crop_size: height and width of the input in pixels.
            full_precision: activations of 4 bytes instead of 2.
        """
        return None


_NOT_ARCHITECTURE = {field.name for field in dataclasses.fields(NetworkSettings)}
