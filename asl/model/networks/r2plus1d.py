"""R(2+1)D-18: convolutions over space, each followed by one over time (Tran et al., CVPR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from asl.config.setting import setting
from asl.model.networks.video_resnet_settings import VideoResNetSettings

if TYPE_CHECKING:
    from torch import nn
    from torchvision.models import WeightsEnum


@dataclass(kw_only=True)
class R2Plus1D(VideoResNetSettings):
    """Settings of R(2+1)D of any width and depth."""

    pad_planes: int = setting(
        8, "GPUs only: round planes inside (2+1)D convolutions up to a multiple of this; 1: off", ge=1
    )

    name = "r2plus1d"

    def architecture(self) -> dict[str, Any]:
        """All settings but ``pad_planes``, which does not change the function."""
        settings = super().architecture()
        del settings["pad_planes"]
        return settings

    def kinetics_weights(self) -> WeightsEnum:
        from torchvision.models.video import R2Plus1D_18_Weights

        weights: WeightsEnum = R2Plus1D_18_Weights.KINETICS400_V1
        return weights

    def tune_for_gpu(self, network: nn.Module) -> str:
        """Pad the middle planes, see ``padding.py``, and do what is done for all video ResNets."""
        from asl.model.networks.padding import pad_planes

        padded = pad_planes(network, self.pad_planes)
        changes = [f"planes padded to multiples of {self.pad_planes}"] if padded else []
        return ", ".join([*changes, super().tune_for_gpu(network)])
