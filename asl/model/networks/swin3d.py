"""Video Swin transformers: attention in shifted windows of space and time (Liu et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import SwinTransformerBlock
from torchvision.models.video import Swin3D_B_Weights, Swin3D_T_Weights, SwinTransformer3d
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

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
            block=partial(SwinTransformerBlock, attn_layer=ShiftedWindowAttention),
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


class ShiftedWindowAttention(ShiftedWindowAttention3d):
    """torchvision's attention in shifted windows, without dropout, with a mask that compiles quickly.

    torchvision's mask, 27 assignments, is 600 of the 1,008 operations of a block that torch.compile compiles.
    Its biases in windows that are lower or narrower than 7 tokens are those of other relative positions.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens ``(B, T, H, W, C)`` attend to those of their window; the shape stays."""
        num_clips, size = len(tokens), tokens.shape[1:4]
        # A window that holds a whole axis is not shifted along it.
        window = [min(pair) for pair in zip(self.window_size, size, strict=True)]
        shift = [0 if w == n else s for s, w, n in zip(self.shift_size, window, size, strict=True)]
        padding = [-n % w for n, w in zip(size, window, strict=True)]
        padded = F.pad(tokens, (0, 0, 0, padding[2], 0, padding[1], 0, padding[0]))
        moved = padded.roll([-s for s in shift], (1, 2, 3))

        q, k, v = self.qkv(_windows(moved, window)).unflatten(-1, (3, self.num_heads, -1)).unbind(2)
        scale = q.shape[-1] ** -0.5
        scores = (q * scale).transpose(1, 2) @ k.permute(0, 2, 3, 1)  # (B * windows, heads, S, S)
        scores = scores + self.get_relative_position_bias(window)
        if any(shift):
            mask = _mask(moved.shape[1:4], window, shift, tokens.device).to(scores.dtype)
            scores = (scores.unflatten(0, (num_clips, -1)) + mask).flatten(0, 1)
        attended = (scores.softmax(-1) @ v.transpose(1, 2)).transpose(1, 2).flatten(2)

        counts = [n // w for n, w in zip(moved.shape[1:4], window, strict=True)]
        whole = self.proj(attended).reshape(num_clips, *counts, *window, -1).permute(0, 1, 4, 2, 5, 3, 6, 7)
        whole = whole.reshape(moved.shape).roll(shift, (1, 2, 3))
        return whole[:, : size[0], : size[1], : size[2]].contiguous()

    def get_relative_position_bias(self, window_size: list[int]) -> Tensor:
        """The bias of each pair of tokens of a window, by their relative position: ``(1, heads, S, S)``.

        Args:
            window_size: tokens in time, height and width, at most those of ``self.window_size``.
        """
        time, height, width = window_size
        index = self.relative_position_index.view(*self.window_size, *self.window_size)
        index = index[:time, :height, :width, :time, :height, :width].flatten(0, 2).flatten(1)  # (S, S)
        return self.relative_position_bias_table[index].permute(2, 0, 1).contiguous().unsqueeze(0)


def _windows(tokens: Tensor, window: Sequence[int]) -> Tensor:
    """``(B, T, H, W, C)`` -> ``(B * windows, tokens of a window, C)``."""
    for axis in (3, 2, 1):
        tokens = tokens.unflatten(axis, (-1, window[axis - 1]))
    return tokens.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(0, 3)


def _mask(size: Sequence[int], window: Sequence[int], shift: Sequence[int], device: torch.device) -> Tensor:
    """What is added to the scores of tokens that only the shift brought into one window: -100, else 0.

    Returns:
        Float ``(windows, 1, S, S)``, S tokens of a window.
    """
    region = torch.zeros(*size, device=device)  # in each axis: before the last window, and the last one's two
    for axis, (n, w, s) in enumerate(zip(size, window, shift, strict=True)):
        place = torch.arange(n, device=device)
        number = (place >= n - w).float() + (place >= n - s).float()
        region = 3 * region + number.view([-1 if dim == axis else 1 for dim in range(3)])
    regions = _windows(region[None, ..., None], window).squeeze(-1)
    differ = regions[:, None, :, None] != regions[:, None, None, :]
    return differ * -100.0
