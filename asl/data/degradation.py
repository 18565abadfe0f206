"""Worse pictures for training: blurred, coarse, noisy, with the blocks of JPEG, partly hidden.

Pure functions on the batch's device. Each strength is drawn for a clip between none and that of the setting,
and is the same for all its frames.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from asl.data.augmentation import Augmentation

# Uniform numbers per clip, in this order: blur, downscale, noise, seed of the noise, blocks, erased area,
# aspect ratio, top, left.
NUM_UNIFORMS = 9

_SIDE = 8  # of a block in pixels, as in JPEG
_GREY = 0.4  # of what is erased: about the mean of Kinetics-400
_LEAST = 1e-6  # strength of a clip that is not changed, which divides
_ERASED_RATIO = 0.3  # least height / width of what is hidden; the most is 1 / 0.3, as in Random Erasing
_BITS = 0xFFFFFFFF


def degrade(clips: Tensor, uniforms: Tensor, augmentation: Augmentation) -> Tensor:
    """Apply blur and downscale, noise, blocks and erasing, in this order.

    Args:
        clips: ``(B, C, T, S, S)`` float32 in [0, 1].
        uniforms: ``(B, NUM_UNIFORMS)`` float32 in [0, 1).
        augmentation: the strengths; what is off costs nothing.

    Returns:
        ``(B, C, T, S, S)`` in [0, 1].
    """
    blur, downscale, noise, seed, blocks = uniforms[:, :5].unbind(dim=1)
    if augmentation.blur or augmentation.downscale > 1:
        factor = 1 + downscale * (augmentation.downscale - 1)
        weights = _coarse(factor, clips.shape[-1]) @ _gaussian(blur * augmentation.blur, clips.shape[-1])
        clips = torch.einsum("byi,bctij,bxj->bctyx", weights, clips, weights)
    if augmentation.noise:
        amplitude = (noise * augmentation.noise).view(-1, 1, 1, 1, 1)
        clips = (clips + amplitude * _noise(seed, clips)).clamp(0, 1)
    if augmentation.blocks:
        clips = _quantise(clips, blocks * augmentation.blocks).clamp(0, 1)
    if augmentation.erase:
        hidden = _rectangles(uniforms[:, 5:], augmentation.erase, clips.shape[-1])
        clips = clips.masked_fill(hidden[:, None, None], _GREY)
    return clips


def _gaussian(sigma: Tensor, size: int) -> Tensor:
    """Weights ``(B, size, size)`` that blur an axis with standard deviations ``sigma`` (B,), in pixels."""
    place = torch.arange(size, device=sigma.device)
    distance = (place[:, None] - place) / sigma.clamp(min=_LEAST).view(-1, 1, 1)
    return _normalised(torch.exp(-(distance**2) / 2))


def _coarse(factor: Tensor, size: int) -> Tensor:
    """Weights ``(B, size, size)`` that make an axis smaller by ``factor`` (B,) and larger again.

    Pixels are averaged in cells of ``factor`` pixels, between whose middles they are interpolated.
    """
    width, place = factor.view(-1, 1, 1), torch.arange(size, device=factor.device)
    cells = place * width  # (B, 1, size): the first edge of each cell; those from size on are empty
    pixels = place[:, None]
    inside = (torch.minimum(cells + width, pixels + 1) - torch.maximum(cells, pixels)).clamp(min=0)
    nearness = (1 - ((pixels + 0.5 - cells) / width - 0.5).abs()).clamp(min=0) * (cells < size)
    return _normalised(nearness) @ _normalised(inside.transpose(1, 2))


def _normalised(weights: Tensor) -> Tensor:
    """Rows that sum to 1; rows of zeros stay."""
    return weights / weights.sum(dim=2, keepdim=True).clamp(min=_LEAST)


def _noise(seed: Tensor, clips: Tensor) -> Tensor:
    """Noise ``(B, 1, T, S, S)``, uniform in [-1, 1): a hash of seed and place, so equal on every device.

    The hash is lowbias32 by Chris Wellons. All colours of a pixel get the same noise.
    """
    shape = clips.shape[2:]
    place = torch.arange(math.prod(shape), device=clips.device)
    bits = (place + (seed * (1 << 24)).long()[:, None] * 0x9E3779B1) & _BITS
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        bits = ((bits ^ (bits >> shift)) * factor) & _BITS
    return (bits.float() / (1 << 31) - 1).view(-1, 1, *shape)


def _quantise(clips: Tensor, step: Tensor) -> Tensor:
    """Round the cosine transform of blocks to multiples of ``step`` (B,), coarser at high frequencies."""
    size = clips.shape[-1]
    missing = -size % _SIDE
    planes = F.pad(clips.flatten(1, 2), (0, missing, 0, missing), mode="replicate")
    blocks = planes.unflatten(3, (-1, _SIDE)).unflatten(2, (-1, _SIDE))  # (B, C * T, rows, 8, columns, 8)
    place = torch.arange(_SIDE, device=clips.device)
    basis = torch.cos((place + 0.5) * place[:, None] * (math.pi / _SIDE)) / 2
    basis = torch.where(place[:, None] == 0, basis / math.sqrt(2), basis)  # orthonormal, (frequency, place)
    steps = step.clamp(min=_LEAST).view(-1, 1, 1, 1, 1, 1) * (1 + place[:, None, None] + place)
    levels = torch.einsum("uy,bpryqx,vx->bpruqv", basis, blocks, basis) / steps
    blocks = torch.einsum("uy,bpruqv,vx->bpryqx", basis, levels.round() * steps, basis)
    planes = blocks.flatten(4, 5).flatten(2, 3)[:, :, :size, :size]
    return planes.reshape(clips.shape)


def _rectangles(uniforms: Tensor, most: float, size: int) -> Tensor:
    """Where each clip is hidden: ``(B, size, size)`` bool, a rectangle of at most the share ``most``."""
    area, ratio, top, left = uniforms.unbind(dim=1)
    stretch = torch.exp((2 * ratio - 1) * math.log(_ERASED_RATIO))
    height, width = (
        (area * most * stretch).sqrt().clamp(max=1) * size,
        (area * most / stretch).sqrt().clamp(max=1) * size,
    )
    place = torch.arange(size, device=uniforms.device) + 0.5
    rows, columns = (
        (place >= first[:, None]) & (place < (first + length)[:, None])
        for first, length in ((top * (size - height), height), (left * (size - width), width))
    )
    return rows[:, :, None] & columns[:, None]
