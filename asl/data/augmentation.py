"""Settings of training-time augmentation.

``sampling.py`` applies those of :class:`Tempo`, ``transforms.py`` and ``degradation.py`` the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asl.config.setting import setting
from asl.data.sampling import Tempo


@dataclass(kw_only=True)
class Augmentation(Tempo):
    """Strength of each augmentation. ``hflip`` is off by default because a flip swaps the signer's hands."""

    hflip: bool = setting(False, "mirror half of the clips")
    scale: list[float] = setting([0.6, 1.0], "area of the random crop, as a share of the picture", gt=0, le=1)
    ratio: list[float] = setting([0.75, 1.3333], "aspect ratio of the random crop", gt=0)
    brightness: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    contrast: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    saturation: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    rotation: float = setting(0.0, "largest rotation in degrees, in either direction", ge=0, le=45)
    mixup: float = setting(0.0, "alpha of mixup, which blends two clips and their labels; 0: off", ge=0)
    time_mix: float = setting(
        0.0, "alpha of mixup in time: one clip begins and another ends, with both labels; 0: off", ge=0
    )
    blur: float = setting(0.0, "largest standard deviation of a Gaussian blur, in pixels of the input", ge=0)
    downscale: float = setting(
        1.0, "largest factor by which pictures are made smaller, and as large again; 1: off", ge=1
    )
    noise: float = setting(0.0, "largest amplitude of noise, as a share of white", ge=0, le=1)
    blocks: float = setting(
        0.0,
        "coarsest step of blocks like those of JPEG; 0.03: like its quality 50; 0.15: 10",
        ge=0,
        le=1,
    )
    erase: float = setting(0.0, "largest part of the picture that a grey rectangle hides", ge=0, lt=1)

    @property
    def degrades(self) -> bool:
        """Whether any of the settings that ``degradation.py`` applies is on."""
        return self.downscale > 1 or any((self.blur, self.noise, self.blocks, self.erase))

    @property
    def mixes(self) -> bool:
        """Whether each clip is mixed with another one of its batch."""
        return bool(self.mixup or self.time_mix)

    def problems(self) -> Iterator[str]:
        """Yield a message for each range whose ends are swapped, and for two ways to mix clips."""
        for key, (low, high) in (("scale", self.scale), ("ratio", self.ratio), ("speed", self.speed)):
            if low > high:
                yield f"augment.{key}={[low, high]}: the first must not be greater than the second"
        if self.mixup and self.time_mix:
            yield f"augment.mixup={self.mixup} augment.time_mix={self.time_mix}: set one of them to 0"
