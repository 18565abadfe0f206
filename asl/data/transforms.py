"""Batch transforms: uint8 frames to normalised float clips, on the batch's device.

These are pure functions. Randomness enters as uniform numbers in [0, 1) that the data set draws for each
clip. The result depends only on the clip and its numbers, not on the process or on a resume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from asl.data.augmentation import Augmentation
from asl.data.degradation import degrade
from asl.data.normalisation import KINETICS_MEAN, KINETICS_STD

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as in torchvision's rgb_to_grayscale

# Uniform numbers per clip, in this order: crop area, crop aspect ratio, crop top, crop left, flip,
# brightness, contrast, saturation, rotation, mixup.
NUM_UNIFORMS = 10

_QUANTILES = 1025  # points at which the Beta distribution of mixup is tabulated


def augment(
    video: Tensor,
    uniforms: Tensor,
    *,
    crop_size: int,
    augmentation: Augmentation,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
) -> Tensor:
    """Apply random resized crop, rotation, flip, colour jitter and degradations, and normalise.

    All frames of a clip are changed in the same way. For mixup see :func:`mix_clips`.

    Args:
        video: ``(B, T, H, W, C)`` uint8.
        uniforms: ``(B, NUM_UNIFORMS)`` float in [0, 1), and with degradations theirs.
        crop_size: height and width of the result in pixels.
        augmentation: strength of each augmentation.
        mean: of each channel, for pixels in [0, 1].
        std: standard deviation of each channel.

    Returns:
        ``(B, C, T, crop_size, crop_size)`` float32, normalised, in ``channels_last_3d`` memory format.
    """
    size, num_frames, height, width, channels = video.shape
    uniforms = uniforms.to(video.device)
    boxes = crop_boxes(uniforms[:, :4], height=height, width=width, augmentation=augmentation)
    flipped = (uniforms[:, 4] < 0.5) & augmentation.hflip
    angles = (2 * uniforms[:, 8] - 1) * math.radians(augmentation.rotation)
    # All frames of a clip are sampled at the same points, so time and colour become channels of one picture.
    planes = video.permute(0, 1, 4, 2, 3).reshape(size, num_frames * channels, height, width).float()
    planes = F.grid_sample(
        planes,
        _sampling_points(boxes, flipped, angles, height=height, width=width, crop_size=crop_size),
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    clips = planes.view(size, num_frames, channels, crop_size, crop_size).transpose(1, 2) / 255
    clips = _jitter_colour(clips, uniforms[:, 5:8], augmentation)
    if augmentation.degrades:
        clips = degrade(clips, uniforms[:, NUM_UNIFORMS:], augmentation)
    return normalise(clips, mean, std).contiguous(memory_format=torch.channels_last_3d)


def centre_crop(
    video: Tensor,
    *,
    crop_size: int,
    mean: Sequence[float] = KINETICS_MEAN,
    std: Sequence[float] = KINETICS_STD,
) -> Tensor:
    """Crop the centre of the picture and normalise, as torchvision's preset does (for evaluation).

    Args:
        video: ``(B, T, H, W, C)`` uint8, H and W at least ``crop_size``.
        crop_size: height and width of the result in pixels.
        mean: of each channel, for pixels in [0, 1].
        std: standard deviation of each channel.

    Returns:
        ``(B, C, T, crop_size, crop_size)`` float32, normalised.
    """
    height, width = video.shape[2:4]
    top, left = round((height - crop_size) / 2), round((width - crop_size) / 2)
    cropped = video[:, :, top : top + crop_size, left : left + crop_size]
    return normalise(cropped.permute(0, 4, 1, 2, 3).float() / 255, mean, std)


def crop_pictures(frames: npt.NDArray[np.uint8], crop_size: int) -> npt.NDArray[np.uint8]:
    """Crop the centre of ``(T, H, W, 3)`` frames: what the network sees, as pictures.

    Returns:
        ``(T, crop_size, crop_size, 3)``.
    """
    unchanged = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    video = centre_crop(torch.from_numpy(frames)[None], crop_size=crop_size, **unchanged)
    pictures: npt.NDArray[np.uint8] = to_pictures(video, **unchanged)[0]
    return pictures


def to_pictures(
    clips: Tensor, mean: Sequence[float] = KINETICS_MEAN, std: Sequence[float] = KINETICS_STD
) -> npt.NDArray[np.uint8]:
    """Undo :func:`normalise`: ``(B, 3, T, H, W)`` float -> ``(B, T, H, W, 3)`` uint8 on the host."""
    shape = (1, 3, 1, 1, 1)
    shares = clips * clips.new_tensor(std).view(shape) + clips.new_tensor(mean).view(shape)
    video: npt.NDArray[np.uint8] = (
        (255 * shares).round().clamp(0, 255).byte().permute(0, 2, 3, 4, 1).cpu().numpy()
    )
    return video


def normalise(
    clips: Tensor, mean: Sequence[float] = KINETICS_MEAN, std: Sequence[float] = KINETICS_STD
) -> Tensor:
    """Subtract the mean from ``(B, C, T, H, W)`` in [0, 1] and divide by the standard deviation."""
    shape = (1, 3, 1, 1, 1)
    return (clips - clips.new_tensor(mean).view(shape)) / clips.new_tensor(std).view(shape)


def crop_boxes(uniforms: Tensor, *, height: int, width: int, augmentation: Augmentation) -> Tensor:
    """Compute crop boxes: area uniform in ``scale``, aspect ratio log-uniform in ``ratio``.

    A box that is larger than the picture is clipped to it. (torchvision's RandomResizedCrop draws again,
    which would need an unknown number of random numbers.)

    Args:
        uniforms: ``(B, 4)`` in [0, 1).
        height: height of the picture in pixels.
        width: width of the picture in pixels.
        augmentation: ``scale`` and ``ratio`` (width / height).

    Returns:
        ``(B, 4)`` float: top, left, height, width in pixels, inside the picture.
    """
    (least, most), (narrow, wide) = augmentation.scale, augmentation.ratio
    area = height * width * (least + (most - least) * uniforms[:, 0])
    ratio = torch.exp(math.log(narrow) + (math.log(wide) - math.log(narrow)) * uniforms[:, 1])
    box_height = torch.sqrt(area / ratio).clamp(max=height)
    box_width = torch.sqrt(area * ratio).clamp(max=width)
    top, left = (height - box_height) * uniforms[:, 2], (width - box_width) * uniforms[:, 3]
    return torch.stack([top, left, box_height, box_width], dim=1)


def _sampling_points(
    boxes: Tensor, flipped: Tensor, angles: Tensor, *, height: int, width: int, crop_size: int
) -> Tensor:
    """Boxes ``(B, 4)`` -> points ``(B, crop_size, crop_size, 2)`` in grid_sample's coordinates, -1 to 1.

    Each box is rotated about its centre by ``angles`` (B,), in radians.
    """
    top, left, box_height, box_width = boxes.unbind(dim=1)
    centre_x = (2 * left + box_width) / width - 1
    centre_y = (2 * top + box_height) / height - 1
    across, sine, cosine = torch.where(flipped, -box_width, box_width), angles.sin(), angles.cos()
    rows = [cosine * across / width, -sine * box_height / width, centre_x]
    rows += [sine * across / height, cosine * box_height / height, centre_y]
    theta = torch.stack(rows, dim=1).view(-1, 2, 3)
    return F.affine_grid(theta, [len(boxes), 1, crop_size, crop_size], align_corners=False)


def mix_clips(clips: Tensor, uniforms: Tensor, *, alpha: float) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al., ICLR 2018): blend clip ``i`` of the batch with clip ``B - 1 - i``.

    Args:
        clips: ``(B, C, T, H, W)`` float, normalised.
        uniforms: ``(B, NUM_UNIFORMS)`` in [0, 1); one share for the batch is drawn with the first clip's.
        alpha: parameter of the Beta(alpha, alpha) distribution from which the share is drawn.

    Returns:
        The blended clips, and the share ``()`` of ``clips`` in them; the rest is the share of
        ``clips.flip(0)``.
    """
    quantiles = _beta_quantiles(alpha, clips.device)
    # Shape (1,), because indexing with shape () would make the host wait for the GPU.
    position = uniforms[:1, 9].to(clips.device) * (len(quantiles) - 1)
    below = position.floor().long().clamp(max=len(quantiles) - 2)
    mix = torch.lerp(quantiles[below], quantiles[below + 1], position - below).squeeze(0)
    return torch.lerp(clips.flip(0), clips, mix), mix


@cache
def _beta_quantiles(alpha: float, device: torch.device) -> Tensor:
    """Quantiles 0, 1/1024, ..., 1 of the Beta(alpha, alpha) distribution: ``(1025,)`` float32.

    Estimated from 2^20 draws, accurate to about 0.001. Cached, because the copy to the device would wait
    for all work that is queued there.
    """
    drawn = np.random.default_rng(0).beta(alpha, alpha, 1 << 20)
    quantiles = np.quantile(drawn, np.linspace(0, 1, _QUANTILES))
    return torch.tensor(quantiles, dtype=torch.float32, device=device)


def _jitter_colour(clips: Tensor, uniforms: Tensor, augmentation: Augmentation) -> Tensor:
    """Change brightness, contrast and saturation, in this order, by a factor in ``1 ± strength``.

    Args:
        clips: ``(B, C, T, H, W)`` in [0, 1].
        uniforms: ``(B, 3)`` in [0, 1).
        augmentation: the strengths.
    """
    strength = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    if not any(strength):
        return clips
    factors = 1 + (2 * uniforms - 1) * uniforms.new_tensor(strength)
    brightness, contrast, saturation = factors.view(-1, 3, 1, 1, 1, 1).unbind(dim=1)
    luma = clips.new_tensor(_LUMA).view(1, 3, 1, 1, 1)
    clips = (clips * brightness).clamp(0, 1)
    mean = (clips * luma).sum(dim=1, keepdim=True).mean(dim=(2, 3, 4), keepdim=True)  # over the whole clip
    clips = torch.lerp(mean.expand_as(clips), clips, contrast).clamp(0, 1)
    grey = (clips * luma).sum(dim=1, keepdim=True)
    return torch.lerp(grey.expand_as(clips), clips, saturation).clamp(0, 1)
