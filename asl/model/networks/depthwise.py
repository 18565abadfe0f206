"""Depthwise 3x3x3 convolutions of tokens, as Triton kernels.

PyTorch's kernels for 3D depthwise convolutions are slow and expect contiguous planes. Tokens have contiguous
channels, so they would have to be copied before and after.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_CHANNELS = 32  # of a program
_ROWS = 64  # tokens of a program
_WEIGHT_PROGRAMS = 256  # that share the tokens of the weight's gradient, for each three taps and _CHANNELS


@functools.cache
def works() -> bool:
    """Whether Triton can compile the kernels for this machine's GPU and run them."""
    try:
        tokens = torch.ones(1, 1, 9, 8, device="cuda", requires_grad=True)
        depthwise_conv(tokens, torch.ones(8, 1, 3, 3, 3, device="cuda"), (2, 2, 2), 1).sum().backward()
        torch.cuda.synchronize()
    except Exception:  # no C compiler, an unsupported GPU: each raises its own
        return False
    return True


# Custom operators, so that the kernels get the strides of the real tensors, also in compiled code.


@torch.library.custom_op("asl::depthwise_conv", mutates_args=())
def depthwise_conv(tokens: Tensor, weight: Tensor, size: Sequence[int], stride: int) -> Tensor:
    """Convolve each channel of tokens by itself in space and time, with zero padding.

    Args:
        tokens: ``(B, heads, 1 + T * H * W, C)`` on a GPU, of any strides. The first token of a head, the
            class token, is only copied.
        weight: ``(C, 1, 3, 3, 3)``.
        size: T, H and W.
        stride: that of height and width.

    Returns:
        ``(B, heads, 1 + T * H' * W', C)``, where H' is H / stride, rounded up. The order of additions depends
        on shapes only.
    """
    tokens = _channels_together(tokens)
    output = _empty_output(tokens, weight, size, stride)
    output[:, :, :1] = tokens[:, :, :1]
    clips, heads, _, channels = tokens.shape
    rows = clips * heads * math.prod(new_size(size, stride))
    with torch.cuda.device_of(tokens):
        _forward[(triton.cdiv(rows, _ROWS), triton.cdiv(channels, _CHANNELS))](
            *(tokens, _taps(weight, tokens), output, rows, *size, *new_size(size, stride)[1:]),
            *(heads, *tokens.stride()[:3], channels),
            **_constants(stride),
        )
    return output


@torch.library.custom_op("asl::depthwise_conv_gradients", mutates_args=())
def _gradients(
    grad: Tensor, tokens: Tensor, weight: Tensor, size: Sequence[int], stride: int
) -> tuple[Tensor, Tensor]:
    """The gradients of tokens and weight."""
    grad, tokens = _channels_together(grad), _channels_together(tokens)
    clips, heads, _, channels = tokens.shape
    sizes = (*size, *new_size(size, stride)[1:])
    channel_blocks = triton.cdiv(channels, _CHANNELS)

    token_grad = grad.new_empty(tokens.shape)
    token_grad[:, :, :1] = grad[:, :, :1]
    rows = clips * heads * math.prod(size)
    new_rows = clips * heads * math.prod(new_size(size, stride))
    blocks = triton.cdiv(new_rows, _ROWS)
    programs = min(blocks, _WEIGHT_PROGRAMS)
    partial = torch.empty(programs, 27, channels, device=grad.device, dtype=torch.float32)
    with torch.cuda.device_of(tokens):
        _token_gradient[(triton.cdiv(rows, _ROWS), channel_blocks)](
            *(grad, _taps(weight, tokens), token_grad, rows, *sizes),
            *(heads, *grad.stride()[:3], channels),
            **_constants(stride),
        )
        _weight_gradient[(9, channel_blocks, programs)](
            *(tokens, grad, partial, new_rows, *sizes),
            *(heads, *tokens.stride()[:3], *grad.stride()[:3], channels),
            triton.cdiv(blocks, programs),
            **_constants(stride),
        )
    weight_grad = partial.sum(0).T.contiguous().view(weight.shape).to(weight.dtype)
    return token_grad, weight_grad


def new_size(size: Sequence[int], stride: int) -> tuple[int, int, int]:
    """T, H' and W' of the output of :func:`depthwise_conv`."""
    return size[0], -(-size[1] // stride), -(-size[2] // stride)


def _constants(stride: int) -> dict[str, int]:
    """What kernels are compiled for."""
    return {"stride": stride, "num_rows": _ROWS, "num_channels": _CHANNELS}


def _channels_together(tokens: Tensor) -> Tensor:
    return tokens if tokens.stride(3) == 1 else tokens.contiguous()


def _taps(weight: Tensor, tokens: Tensor) -> Tensor:
    """The weight as ``(27, C)``."""
    return weight.to(tokens.dtype).flatten(1).T.contiguous()


@depthwise_conv.register_fake
def _empty_output(tokens: Tensor, weight: Tensor, size: Sequence[int], stride: int) -> Tensor:
    return tokens.new_empty(*tokens.shape[:2], 1 + math.prod(new_size(size, stride)), tokens.shape[3])


@_gradients.register_fake
def _empty_gradients(
    grad: Tensor, tokens: Tensor, weight: Tensor, size: Sequence[int], stride: int
) -> tuple[Tensor, Tensor]:
    return grad.new_empty(tokens.shape), weight.new_empty(weight.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    tokens, weight, ctx.size, ctx.stride = inputs
    ctx.save_for_backward(tokens, weight)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    return *_gradients(grad, *ctx.saved_tensors, ctx.size, ctx.stride), None, None


depthwise_conv.register_autograd(_backward, setup_context=_keep)


# In the next four, a row is a token of the tensor that is written, class tokens not counted.


@triton.jit
def _places(  # type: ignore[no-untyped-def]
    frames,
    height,
    width,
    heads,
    clip_stride,
    head_stride,
    channels,
    num_rows: tl.constexpr,
    num_channels: tl.constexpr,
):
    """A program's rows and channels, which channels exist, each row's head, and where that head begins.

    The size is that of the tensor that is written. Strides and beginnings are those of the one that is read.
    """
    row = tl.program_id(0) * num_rows + tl.arange(0, num_rows)
    channel = tl.program_id(1) * num_channels + tl.arange(0, num_channels)
    exists = channel < channels
    head = row // (width * height * frames)
    begin = (head // heads).to(tl.int64) * clip_stride + (head % heads).to(tl.int64) * head_stride
    return row, channel, exists, head, begin


@triton.jit
def _store(output, total, row, rows, head, channel, exists, channels):  # type: ignore[no-untyped-def]
    """Write a program's rows and channels to a contiguous tensor."""
    place = (row + head.to(tl.int64) + 1)[:, None] * channels + channel[None, :]
    mask = (row < rows)[:, None] & exists[None, :]
    tl.store(output + place, total.to(output.dtype.element_ty), mask=mask)


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    tokens,
    taps,
    output,
    rows,
    frames,
    height,
    width,
    new_height,
    new_width,
    heads,
    clip_stride,
    head_stride,
    token_stride,
    channels,
    stride: tl.constexpr,
    num_rows: tl.constexpr,
    num_channels: tl.constexpr,
):
    row, channel, exists, head, begin = _places(
        frames, new_height, new_width, heads, clip_stride, head_stride, channels, num_rows, num_channels
    )
    new_t = row // (new_width * new_height) % frames
    new_h = row // new_width % new_height
    new_w = row % new_width
    total = tl.zeros((num_rows, num_channels), tl.float32)
    for tap in range(27):
        t = new_t + tap // 9 - 1
        h = new_h * stride + tap // 3 % 3 - 1
        w = new_w * stride + tap % 3 - 1
        inside = (t >= 0) & (t < frames) & (h >= 0) & (h < height) & (w >= 0) & (w < width) & (row < rows)
        place = begin + (1 + (t * height + h) * width + w) * token_stride
        mask = inside[:, None] & exists[None, :]
        value = tl.load(tokens + place[:, None] + channel[None, :], mask=mask, other=0.0)
        factor = tl.load(taps + tap * channels + channel, mask=exists, other=0.0)
        total += value.to(tl.float32) * factor.to(tl.float32)[None, :]
    _store(output, total, row, rows, head, channel, exists, channels)


@triton.jit
def _token_gradient(  # type: ignore[no-untyped-def]
    grad,
    taps,
    token_grad,
    rows,
    frames,
    height,
    width,
    new_height,
    new_width,
    heads,
    clip_stride,
    head_stride,
    token_stride,
    channels,
    stride: tl.constexpr,
    num_rows: tl.constexpr,
    num_channels: tl.constexpr,
):
    row, channel, exists, head, begin = _places(
        frames, height, width, heads, clip_stride, head_stride, channels, num_rows, num_channels
    )
    t_from_zero = row // (width * height) % frames + 1  # in the padded input
    h_from_zero = row // width % height + 1
    w_from_zero = row % width + 1
    # Along an axis, the taps of at most so many output tokens reach this token:
    near: tl.constexpr = (2 + stride) // stride
    total = tl.zeros((num_rows, num_channels), tl.float32)
    for number in range(3 * near * near):
        t = t_from_zero - number // (near * near)
        h = h_from_zero // stride - number // near % near
        w = w_from_zero // stride - number % near
        h_tap = h_from_zero - h * stride
        w_tap = w_from_zero - w * stride
        inside = (t >= 0) & (t < frames) & (h >= 0) & (h < new_height) & (w >= 0) & (w < new_width)
        inside = inside & (h_tap < 3) & (w_tap < 3) & (row < rows)
        mask = inside[:, None] & exists[None, :]
        place = begin + (1 + (t * new_height + h) * new_width + w) * token_stride
        value = tl.load(grad + place[:, None] + channel[None, :], mask=mask, other=0.0)
        tap = ((t_from_zero - t) * 3 + h_tap) * 3 + w_tap
        factor = tl.load(taps + tap[:, None] * channels + channel[None, :], mask=mask, other=0.0)
        total += value.to(tl.float32) * factor.to(tl.float32)
    _store(token_grad, total, row, rows, head, channel, exists, channels)


@triton.jit
def _weight_gradient(  # type: ignore[no-untyped-def]
    tokens,
    grad,
    partial,
    rows,
    frames,
    height,
    width,
    new_height,
    new_width,
    heads,
    clip_stride,
    head_stride,
    token_stride,
    grad_clip_stride,
    grad_head_stride,
    grad_token_stride,
    channels,
    blocks,
    stride: tl.constexpr,
    num_rows: tl.constexpr,
    num_channels: tl.constexpr,
):
    three = tl.program_id(0)  # taps that differ in width only
    channel = tl.program_id(1) * num_channels + tl.arange(0, num_channels)
    program = tl.program_id(2)
    exists = (channel < channels)[None, :]
    left = tl.zeros((num_rows, num_channels), tl.float32)
    middle = tl.zeros((num_rows, num_channels), tl.float32)
    right = tl.zeros((num_rows, num_channels), tl.float32)
    for block in range(program * blocks, (program + 1) * blocks):
        row = block * num_rows + tl.arange(0, num_rows)  # of the output's tokens but class tokens
        number = row // (new_width * new_height * frames)
        clip, head = (number // heads).to(tl.int64), (number % heads).to(tl.int64)
        place = 1 + row % (new_width * new_height * frames)
        at = clip * grad_clip_stride + head * grad_head_stride + place * grad_token_stride
        mask = (row < rows)[:, None] & exists
        gradient = tl.load(grad + at[:, None] + channel[None, :], mask=mask, other=0.0).to(tl.float32)
        t = row // (new_width * new_height) % frames + three // 3 - 1
        h = row // new_width % new_height * stride + three % 3 - 1
        w = row % new_width * stride
        inside = (t >= 0) & (t < frames) & (h >= 0) & (h < height) & (row < rows)
        place = 1 + (t * height + h) * width + w
        at = clip * clip_stride + head * head_stride + place * token_stride
        value = tokens + at[:, None] + channel[None, :]
        mask = (inside & (w > 0))[:, None] & exists
        left += gradient * tl.load(value - token_stride, mask=mask, other=0.0).to(tl.float32)
        mask = inside[:, None] & exists
        middle += gradient * tl.load(value, mask=mask, other=0.0).to(tl.float32)
        mask = (inside & (w + 1 < width))[:, None] & exists
        right += gradient * tl.load(value + token_stride, mask=mask, other=0.0).to(tl.float32)
    result = partial + (program * 27 + three * 3) * channels + channel
    mask = channel < channels
    tl.store(result, tl.sum(left, 0), mask=mask)
    tl.store(result + channels, tl.sum(middle, 0), mask=mask)
    tl.store(result + 2 * channels, tl.sum(right, 0), mask=mask)
