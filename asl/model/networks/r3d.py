"""R3D-18: 3D convolutions throughout (Tran et al., CVPR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asl.model.networks.video_resnet_settings import VideoResNetSettings

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


@dataclass(kw_only=True)
class R3D(VideoResNetSettings):
    """Settings of R3D of any width and depth."""

    name = "r3d"

    def kinetics_weights(self) -> WeightsEnum:
        from torchvision.models.video import R3D_18_Weights

        weights: WeightsEnum = R3D_18_Weights.KINETICS400_V1
        return weights
