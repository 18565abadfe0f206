"""Compute the first convolution of a video ResNet on more planes of a smaller picture, for tensor cores.

It has a kernel of 7x7 and a stride of 2, and its input has three planes, for which a GPU's kernels are slow.
With each 2x2 pixels as 4 planes (space to depth), the same sums are a convolution of 4x4 with a stride of 1
on 12 planes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asl.model.networks.padding import PaddedConv3d

_KERNEL, _STRIDE, _PADDING = (7, 7), (2, 2), (3, 3)
_BLOCK_PADDING = (2, 1, 2, 1)  # blocks left, right, top, bottom, for as many outputs of a 4x4 kernel
_PLANES = 4  # of a block, for each plane
_MULTIPLE = 8  # tensor cores compute planes in groups of 8


class SpaceToDepthConv3d(PaddedConv3d):
    """A convolution of ``(t, 7, 7)`` with stride 2 over space, on each 2x2 pixels as 4 planes.

    Args:
        conv: the convolution to replace. Its parameter is shared, not copied.
        extra_out: additional planes of the output, which are zero.
    """

    def forward(self, video: Tensor) -> Tensor:
        """``(B, in_channels, T, H, W)`` -> ``(B, out_channels + extra_out, T, H / 2, W / 2)``."""
        zero_planes = -_PLANES * self.in_channels % _MULTIPLE
        weight = F.pad(self.weight, (1, 0, 1, 0))  # 8x8, so that it is made of blocks
        weight = F.pad(_space_to_depth(weight), (0, 0, 0, 0, 0, 0, 0, zero_planes, 0, self.extra_out))
        if video.shape[-2] % 2 or video.shape[-1] % 2:
            video = F.pad(video, (0, video.shape[-1] % 2, 0, video.shape[-2] % 2))
        blocks = F.pad(_space_to_depth(video), (*_BLOCK_PADDING, 0, 0, 0, zero_planes))
        blocks = blocks.contiguous(memory_format=torch.channels_last_3d)
        if self.kernel_size[0] > 1:
            return F.conv3d(blocks, weight, padding=(self.padding[0], 0, 0))  # type: ignore[arg-type]
        pictures = F.conv2d(blocks.transpose(1, 2).flatten(0, 1), weight.squeeze(2))  # faster than conv3d
        return pictures.unflatten(0, (len(video), -1)).transpose(1, 2)


def _space_to_depth(video: Tensor) -> Tensor:
    """``(B, C, T, H, W)`` -> ``(B, 4 * C, T, H / 2, W / 2)``."""
    blocks = video.unflatten(4, (-1, 2)).unflatten(3, (-1, 2))  # B, C, T, H / 2, 2, W / 2, 2
    return blocks.permute(0, 1, 4, 6, 2, 3, 5).flatten(1, 3)


def rearrange_stem(stem: nn.Module) -> bool:
    """Replace the stem's first convolution, if it is one of 7x7 with stride 2. It computes the same function.

    Args:
        stem: begins with the convolution; changed in place. Parameters and their names do not change.
    """
    conv = stem.get_submodule("0")
    if (
        not isinstance(conv, nn.Conv3d)
        or isinstance(conv, SpaceToDepthConv3d)
        or (conv.kernel_size[1:], conv.stride[1:], conv.padding[1:]) != (_KERNEL, _STRIDE, _PADDING)
        or conv.stride[0] != 1
    ):
        return False
    stem.add_module("0", SpaceToDepthConv3d(conv, extra_out=getattr(conv, "extra_out", 0)))
    return True
