"""The two sums that the gradient of batch norm and ReLU needs, in one pass over two tensors. A Triton kernel.

The compiler would first write the gradient before the ReLU to memory, and read it three times.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_PROGRAMS = 528  # four on each multiprocessor of an H100


def masked_sums(grad: Tensor, video: Tensor, mean: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Sums over all but planes of ``g`` and of ``g * (video - mean)``.

    ``g`` is ``grad`` where ``(video - mean) * scale + bias`` is positive, and 0 elsewhere.

    Args:
        grad: ``(B, C, T, H, W)``; C is a multiple of 8.
        video: ``(B, C, T, H, W)``.
        mean: ``(C,)``, as are ``scale`` and ``bias``.

    Returns:
        ``(2, C)``, float32. The order of additions does not depend on anything but the shape.
    """
    planes = video.shape[1]
    rows = video.numel() // planes
    width, height = (256, 16) if 64 < planes <= 256 else (64, 32)  # the fastest ones tried on an H100
    partial = torch.empty(2, _PROGRAMS, planes, device=video.device, dtype=torch.float32)
    _masked_sums[(_PROGRAMS, triton.cdiv(planes, width))](
        *(tensor.contiguous(memory_format=torch.channels_last_3d) for tensor in (grad, video)),
        *(mean, scale, bias),
        partial,
        rows,
        planes // 8,
        programs=_PROGRAMS,
        height=height,
        width=width,
    )
    return partial.sum(1)


@triton.jit
def _masked_sums(  # type: ignore[no-untyped-def]
    grad,
    video,
    mean,
    scale,
    bias,
    partial,
    rows,
    eighth,
    programs: tl.constexpr,
    height: tl.constexpr,
    width: tl.constexpr,
):
    planes = eighth * 8  # so that the compiler knows that 8 neighbours can be read at once
    program = tl.program_id(0)
    plane = tl.program_id(1) * width + tl.arange(0, width)
    exists = plane < planes
    centre = tl.load(mean + plane, mask=exists, other=0.0)
    factor = tl.load(scale + plane, mask=exists, other=0.0)
    offset = tl.load(bias + plane, mask=exists, other=0.0)
    total = tl.zeros((height, width), tl.float32)
    weighted = tl.zeros((height, width), tl.float32)
    for begin in range(program * height, rows, programs * height):
        row = begin + tl.arange(0, height)
        inside = (row < rows)[:, None] & exists[None, :]
        index = row.to(tl.int64)[:, None] * planes + plane[None, :]
        value = tl.load(video + index, mask=inside, other=0.0).to(tl.float32) - centre[None, :]
        gradient = tl.load(grad + index, mask=inside, other=0.0).to(tl.float32)
        gradient = tl.where(value * factor[None, :] + offset[None, :] > 0, gradient, 0.0)
        total += gradient
        weighted += gradient * value
    result = partial + program * planes + plane
    tl.store(result, tl.sum(total, 0), mask=exists)
    tl.store(result + programs * planes, tl.sum(weighted, 0), mask=exists)
