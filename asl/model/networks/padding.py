"""Pad the middle planes of (2+1)D convolutions to a multiple of 8, for tensor cores.

Tensor cores compute channels in groups of 8. Between the convolution over space and the one over time,
R(2+1)D-18 has 45, 230, 460 or 921 planes. After :func:`pad_planes`, each forward pass appends zeros to the
weights. The parameters keep their names and shapes, so that checkpoints, optimiser, gradient clipping and
weight decay do not change.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from asl.model.networks.norm_relu import NormRelu3d


class PaddedConv3d(nn.Conv3d):
    """A convolution without bias that pads its weight with planes of zeros in each forward pass.

    Args:
        conv: the convolution to replace. Its parameter is shared, not copied.
        extra_in: additional planes of the input, which are ignored.
        extra_out: additional planes of the output, which are zero.
    """

    def __init__(self, conv: nn.Conv3d, *, extra_in: int = 0, extra_out: int = 0) -> None:
        # On the meta device, nothing is allocated and no random number is drawn.
        super().__init__(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            stride=conv.stride,  # type: ignore[arg-type]
            padding=conv.padding,  # type: ignore[arg-type]
            bias=False,
            device="meta",
        )
        self.weight = conv.weight
        self.extra_in, self.extra_out = extra_in, extra_out

    def forward(self, video: Tensor) -> Tensor:
        """``(B, in_channels + extra_in, T, H, W)`` -> ``(B, out_channels + extra_out, T', H', W')``."""
        weight = F.pad(self.weight, (0, 0, 0, 0, 0, 0, 0, self.extra_in, 0, self.extra_out))
        return F.conv3d(video, weight, stride=self.stride, padding=self.padding)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, extra_in={self.extra_in}, extra_out={self.extra_out}"


def pad_planes(model: nn.Module, multiple: int) -> int:
    """Pad the middle planes of all (2+1)D convolutions of a network. It computes the same function.

    Args:
        model: changed in place. Parameters, buffers and their names do not change.
        multiple: number of planes is rounded up to a multiple of this: 8 for tensor cores, 1 for no change.

    Returns:
        The number of (2+1)D convolutions that were padded.
    """
    padded = 0
    for pair in list(model.modules()):
        if not isinstance(pair, nn.Sequential) or len(pair) < 4:
            continue
        # torchvision's Conv2Plus1D, or the first layers of its stem
        space, norm, relu, time = (pair[index] for index in range(4))
        if (
            type(space) is nn.Conv3d
            and type(norm) is nn.BatchNorm3d
            and type(relu) is nn.ReLU
            and type(time) is nn.Conv3d
            and (extra := -space.out_channels % multiple)
        ):
            pair[0] = PaddedConv3d(space, extra_out=extra)
            pair[1], pair[2] = NormRelu3d(norm, extra=extra), nn.Identity()
            pair[3] = PaddedConv3d(time, extra_in=extra)
            padded += 1
    return padded
