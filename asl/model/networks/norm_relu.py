"""Batch norm and the ReLU after it as one module, with a gradient that reads less memory.

A third of a training step of R(2+1)D-18 on an H100 is batch norm and ReLU, and its time is that of reading
and writing tensors. The gradient of ReLU needs to know where its output is zero. Autograd reads the output
for that, twice; here it is computed again from the input, which is read anyway.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if find_spec("triton"):  # without it, nothing is compiled for GPUs
    from asl.model.networks.masked_sums import masked_sums

_ALL_BUT_PLANES = (0, 2, 3, 4)


class NormRelu3d(nn.BatchNorm3d):
    """Batch norm followed by ReLU.

    Args:
        norm: the batch norm to replace. Its parameters and buffers are shared, not copied.
        extra: additional planes of the input, which are zero. They stay zero and have no statistics.
    """

    def __init__(self, norm: nn.BatchNorm3d, *, extra: int = 0) -> None:
        # On the meta device, nothing is allocated.
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum, device="meta")
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.extra = extra
        self.train(norm.training)

    def forward(self, video: Tensor) -> Tensor:
        """``(B, num_features + extra, T, H, W)`` -> the same shape."""
        assert self.momentum is not None
        weight, bias = self._padded(self.weight), self._padded(self.bias)
        # Only compiled: otherwise each operation would be a pass over memory of its own.
        if self.training and torch.compiler.is_compiling():
            with torch.no_grad():
                var, mean = torch.var_mean(_in_fp32(video), _ALL_BUT_PLANES, correction=0)
                rows = video.numel() // video.shape[1]
                known = slice(self.num_features)
                self.running_mean.lerp_(mean[known], self.momentum)  # type: ignore[union-attr, arg-type]
                self.running_var.lerp_(var[known] * (rows / (rows - 1)), self.momentum)  # type: ignore
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
            output: Tensor = _NormRelu.apply(video, mean, torch.rsqrt(var + self.eps), weight, bias)
            return output
        mean, var = self._padded(self.running_mean), self._padded(self.running_var, value=1.0)
        video = F.batch_norm(video, mean, var, weight, bias, self.training, self.momentum, self.eps)
        if self.training:  # batch_norm has updated mean and var, which are copies
            self.running_mean.copy_(mean[: self.num_features])  # type: ignore[union-attr]
            self.running_var.copy_(var[: self.num_features])  # type: ignore[union-attr]
            self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
        return F.relu(video, inplace=True)

    def _padded(self, values: Tensor | None, value: float = 0.0) -> Tensor:
        assert values is not None
        return F.pad(values, (0, self.extra), value=value)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, extra={self.extra}"


class _NormRelu(torch.autograd.Function):
    """``relu((video - mean) / std * weight + bias)``, where mean and std are those of ``video``."""

    @staticmethod
    def forward(
        ctx: Any, video: Tensor, mean: Tensor, invstd: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        ctx.save_for_backward(video, mean, invstd, weight, bias)
        return torch.relu(_affine(_in_fp32(video), mean, weight * invstd, bias)).to(video.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, Tensor, Tensor]:  # type: ignore[override]
        video, mean, invstd, weight, bias = ctx.saved_tensors
        scale = weight * invstd
        bias_grad, weighted = _sums(grad, video, mean, scale, bias)
        # Mean and std depend on the video, too: grad - mean(grad) - normalised * mean(grad * normalised).
        rows = video.numel() // video.shape[1]
        values = _in_fp32(video)
        masked = torch.where(_affine(values, mean, scale, bias) > 0, _in_fp32(grad), 0.0)
        slope = invstd * invstd * weighted / rows
        through_norm = masked - _planes(bias_grad / rows) - (values - _planes(mean)) * _planes(slope)
        return (through_norm * _planes(scale)).to(video.dtype), None, None, weighted * invstd, bias_grad


def _sums(grad: Tensor, video: Tensor, mean: Tensor, scale: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`~asl.model.networks.masked_sums.masked_sums`, which says why GPUs have a kernel for it."""
    if video.is_cuda and video.shape[1] % 8 == 0:
        sums = masked_sums(grad, video, mean, scale, bias)
        return sums[0], sums[1]
    values = _in_fp32(video)
    grad = torch.where(_affine(values, mean, scale, bias) > 0, _in_fp32(grad), 0.0)
    return grad.sum(_ALL_BUT_PLANES), (grad * (values - _planes(mean))).sum(_ALL_BUT_PLANES)


def _affine(video: Tensor, mean: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return (video - _planes(mean)) * _planes(scale) + _planes(bias)


def _planes(values: Tensor) -> Tensor:
    """One value for each plane of ``(B, C, T, H, W)``."""
    return values.view(1, -1, 1, 1, 1)


def _in_fp32(video: Tensor) -> Tensor:
    """At least single precision."""
    return video.to(torch.promote_types(video.dtype, torch.float32))


def fuse_norms(model: nn.Module) -> int:
    """Replace each batch norm that a ReLU follows. The network computes the same function.

    Args:
        model: changed in place. Parameters, buffers and their names do not change.

    Returns:
        The number of batch norms that were replaced.
    """
    fused = 0
    for sequence in list(model.modules()):
        if not isinstance(sequence, nn.Sequential):
            continue
        for index in range(len(sequence) - 1):
            norm = sequence[index]
            if type(norm) is nn.BatchNorm3d and type(sequence[index + 1]) is nn.ReLU:
                sequence[index], sequence[index + 1] = NormRelu3d(norm), nn.Identity()
                fused += 1
    return fused
