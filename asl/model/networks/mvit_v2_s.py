"""MViTv2-S: a multiscale vision transformer (Li et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models.video import MViT, MViT_V2_S_Weights
from torchvision.models.video.mvit import MSBlockConfig

from asl.config.setting import setting
from asl.model.networks.transformer import TransformerSettings, with_tensor_probabilities

_FRAMES, _PIXELS = 16, 224  # of the input for which the tables of positions are made
_ATTENTION_BYTES = 373  # of the attention maps for each pixel of such input


@dataclass(kw_only=True)
class MViTv2S(TransformerSettings):
    """Settings of MViTv2-S."""

    dropout: float = setting(0.5, "share of features dropped before the classifier", ge=0, lt=1)
    stochastic_depth: float = setting(
        0.2, "probability that a training step skips the last block; lower for earlier ones", ge=0, lt=1
    )

    name = "mvit_v2_s"
    mean, std = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
    activation_bytes = (1100, 1530)
    num_parameters = 34_537_744

    def training_bytes(self, *, batch_size: int, clip_len: int, crop_size: int, full_precision: bool) -> int:
        """The estimate. The attention maps grow with the square of the pixels of a clip."""
        pixels = clip_len * crop_size**2
        maps = batch_size * pixels * pixels * _ATTENTION_BYTES // (_FRAMES * _PIXELS**2)
        rest = super().training_bytes(
            batch_size=batch_size, clip_len=clip_len, crop_size=crop_size, full_precision=full_precision
        )
        return rest + maps

    def build(self, num_classes: int) -> nn.Module:
        network = MViTv2(num_classes, dropout=self.dropout, stochastic_depth=self.stochastic_depth)
        return with_tensor_probabilities(network)

    def kinetics_weights(self) -> MViT_V2_S_Weights:
        weights: MViT_V2_S_Weights = MViT_V2_S_Weights.KINETICS400_V1
        return weights


class MViTv2(MViT):
    """torchvision's MViTv2 for input of any size.

    The tables of relative positions are those of 16 frames of 224 pixels, torchvision's. For other input they
    are interpolated linearly.

    Args:
        num_classes: number of glosses.
        dropout: share of features dropped before the classifier.
        stochastic_depth: probability that a training step skips the last block.
        width: channels of the first stage; each later stage has twice as many and half the resolution.
        layers: number of blocks of each stage.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        dropout: float,
        stochastic_depth: float,
        width: int = 96,
        layers: Sequence[int] = (1, 2, 11, 2),
    ) -> None:
        super().__init__(
            spatial_size=(_PIXELS, _PIXELS),
            temporal_size=_FRAMES,
            block_setting=_blocks(width, layers),
            residual_pool=True,
            residual_with_cls_embed=False,
            rel_pos_embed=True,
            proj_after_attn=True,
            dropout=dropout,
            stochastic_depth_prob=stochastic_depth,
            num_classes=num_classes,
        )

    def forward(self, video: Tensor) -> Tensor:
        """``(B, 3, T, H, W)`` float -> logits ``(B, num_classes)``."""
        patches = self.conv_proj(video)
        size = tuple(patches.shape[2:])
        tokens = self.pos_encoding(patches.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens, size = block(tokens, size)
        logits: Tensor = self.head(self.norm(tokens)[:, 0])  # of the class token
        return logits


def _blocks(width: int, layers: Sequence[int]) -> list[MSBlockConfig]:
    """The blocks of ``mvit_v2_s`` in ``torchvision/models/video/mvit.py``, of any width and depth."""
    blocks = []
    for stage, count in enumerate(layers):
        planes, shrink = width * 2**stage, 2 ** (len(layers) - 1 - stage)
        for number in range(count):
            halves = stage > 0 and number == 0
            blocks.append(
                MSBlockConfig(
                    num_heads=2**stage,
                    input_channels=planes // 2 if halves else planes,
                    output_channels=planes,
                    kernel_q=[3, 3, 3],
                    kernel_kv=[3, 3, 3],
                    stride_q=[1, 2, 2] if halves else [1, 1, 1],
                    stride_kv=[1, shrink, shrink],
                )
            )
    return blocks
