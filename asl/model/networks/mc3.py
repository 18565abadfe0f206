"""MC3-18: 3D convolutions in the stem and first stage, 2D convolutions after it (Tran et al., CVPR 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asl.model.networks.video_resnet_settings import VideoResNetSettings

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum


@dataclass(kw_only=True)
class MC3(VideoResNetSettings):
    """Settings of MC3 of any width and depth."""

    name = "mc3"

    def kinetics_weights(self) -> WeightsEnum:
        from torchvision.models.video import MC3_18_Weights

        weights: WeightsEnum = MC3_18_Weights.KINETICS400_V1
        return weights
