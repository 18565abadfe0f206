"""Video Swin transformers: attention in shifted windows of space and time (Liu et al., CVPR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torchvision.models.video import Swin3D_B_Weights, Swin3D_T_Weights, SwinTransformer3d

from asl.model.networks.transformer import TransformerSettings, with_tensor_probabilities

_HEAD_PLANES = 32  # channels of an attention head


@dataclass(kw_only=True)
class Swin3D(TransformerSettings):
    """Settings of Video Swin transformers."""

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
    width: ClassVar[int]  # channels of the first stage, doubled in each later one
    layers: ClassVar[tuple[int, ...]]  # blocks of each stage

    def build(self, num_classes: int) -> nn.Module:
        network = SwinTransformer3d(
            patch_size=[2, 4, 4],
            embed_dim=self.width,
            depths=list(self.layers),
            num_heads=[self.width * 2**stage // _HEAD_PLANES for stage in range(len(self.layers))],
            window_size=[8, 7, 7],
            stochastic_depth_prob=self.stochastic_depth,
            num_classes=num_classes,
        )
        return with_tensor_probabilities(network)


@dataclass(kw_only=True)
class Swin3DT(Swin3D):
    """Settings of Video Swin-T."""

    name = "swin3d_t"
    width, layers = 96, (2, 2, 6, 2)
    activation_bytes = (1650, 1700)
    num_parameters = 28_158_070

    def kinetics_weights(self) -> Swin3D_T_Weights:
        weights: Swin3D_T_Weights = Swin3D_T_Weights.KINETICS400_V1
        return weights


@dataclass(kw_only=True)
class Swin3DB(Swin3D):
    """Settings of Video Swin-B."""

    name = "swin3d_b"
    width, layers = 128, (2, 2, 18, 2)
    activation_bytes = (3500, 3600)
    num_parameters = 88_048_984

    def kinetics_weights(self) -> Swin3D_B_Weights:
        weights: Swin3D_B_Weights = Swin3D_B_Weights.KINETICS400_V1
        return weights
