"""Pad the middle planes of (2+1)D convolutions to a multiple of 8, for tensor cores.

Tensor cores compute channels in groups of 8. Between the convolution over space and the one over time,
R(2+1)D-18 has 45, 230, 460 or 921 planes. After :func:`pad_planes`, each forward pass appends zeros to the
weights. The parameters keep their names and shapes, so that checkpoints, optimiser, gradient clipping and
weight decay do not change.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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


class PaddedBatchNorm3d(nn.BatchNorm3d):
    """A batch norm for input with ``extra`` planes of zeros, which stay zero and have no statistics.

    Args:
        norm: the batch norm to replace. Its parameters and buffers are shared, not copied.
        extra: number of additional planes.
    """

    def __init__(self, norm: nn.BatchNorm3d, *, extra: int) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.extra = extra
        self.train(norm.training)

    def forward(self, video: Tensor) -> Tensor:
        """``(B, num_features + extra, T, H, W)`` -> the same shape."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        padding = (0, self.extra)
        mean, var = F.pad(self.running_mean, padding), F.pad(self.running_var, padding, value=1.0)
        weight, bias = F.pad(self.weight, padding), F.pad(self.bias, padding)
        video = F.batch_norm(video, mean, var, weight, bias, self.training, self.momentum, self.eps)
        if self.training:  # batch_norm has updated mean and var, which are copies
            self.num_batches_tracked.add_(1)
            self.running_mean.copy_(mean[: self.num_features])
            self.running_var.copy_(var[: self.num_features])
        return video

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, extra={self.extra}"


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
        space, norm, relu, time = (
            pair[i] for i in range(4)
        )  # torchvision's Conv2Plus1D, or the first layers of its stem
        if (
            type(space) is nn.Conv3d
            and type(norm) is nn.BatchNorm3d
            and type(relu) is nn.ReLU
            and type(time) is nn.Conv3d
            and (extra := -space.out_channels % multiple)
        ):
            pair[0] = PaddedConv3d(space, extra_out=extra)
            pair[1] = PaddedBatchNorm3d(norm, extra=extra)
            pair[3] = PaddedConv3d(time, extra_in=extra)
            padded += 1
    return padded
