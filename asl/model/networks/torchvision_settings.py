"""What the settings of torchvision's other video networks share, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from asl.config.setting import setting
from asl.model.networks.base import FIXED_BYTES, KINETICS, PICTURE_BYTES_PER_PIXEL, NetworkSettings

_BYTES_PER_PARAMETER = 16  # weight, gradient and AdamW's two moments, in 32 bits


@dataclass(kw_only=True)
class TorchvisionSettings(NetworkSettings):
    """Settings of a network of torchvision that has Kinetics-400 weights."""

    weights: str | None = setting(KINETICS, "kinetics400, null (random), or a weights file")

    #: Bytes that autograd keeps for each pixel of the input: in mixed precision, and in 32 bits.
    activation_bytes: ClassVar[tuple[int, int]]
    num_parameters: ClassVar[int]

    def training_bytes(self, *, batch_size: int, clip_len: int, crop_size: int, full_precision: bool) -> int:
        """The estimate; it grows in proportion to the pixels of a batch."""
        pixels = batch_size * clip_len * crop_size**2
        per_pixel = self.activation_bytes[full_precision] + PICTURE_BYTES_PER_PIXEL
        return pixels * per_pixel + self.num_parameters * _BYTES_PER_PARAMETER + FIXED_BYTES
