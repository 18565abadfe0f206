"""S3D: Inception blocks of convolutions over space, then over time (Xie et al., ECCV 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import video

from asl.config.setting import setting
from asl.model.networks.torchvision_settings import TorchvisionSettings


@dataclass(kw_only=True)
class S3D(TorchvisionSettings):
    """Settings of S3D."""

    dropout: float = setting(0.2, "share of features dropped before the classifier", ge=0, lt=1)

    name = "s3d"
    gains_by_compiling = False  # 1.01 times the speed on an H100, and the first step comes 94 s later
    min_clip_len, min_crop_size = 8, 32  # each convolution and pooling has a whole window then
    activation_bytes = (465, 610)
    num_parameters = 8_320_048

    def build(self, num_classes: int) -> nn.Module:
        return S3DNetwork(num_classes, dropout=self.dropout)

    def kinetics_weights(self) -> video.S3D_Weights:
        weights: video.S3D_Weights = video.S3D_Weights.KINETICS400_V1
        return weights


class S3DNetwork(video.S3D):
    """torchvision's S3D for input of any size, with torch's default momentum of batch norms.

    torchvision's network needs 14 frames of 224 pixels. Its momentum of 0.001 needs thousands of steps to
    learn the statistics of other clips than Kinetics'.

    Args:
        num_classes: number of glosses.
        dropout: share of features dropped before the classifier.
    """

    def __init__(self, num_classes: int, *, dropout: float) -> None:
        super().__init__(num_classes, dropout=dropout, norm_layer=partial(nn.BatchNorm3d, eps=0.001))

    def forward(self, clips: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``."""
        features = self.features(clips)
        window = [min(full, size) for full, size in zip((2, 7, 7), features.shape[2:], strict=True)]
        logits: Tensor = self.classifier(F.avg_pool3d(features, window, stride=1)).mean(dim=(2, 3, 4))
        return logits
