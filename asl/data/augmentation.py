"""Settings of training-time augmentation.

``transforms.py`` applies them to frames; ``sampling.py`` applies ``speed``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asl.config.setting import setting


@dataclass(kw_only=True)
class Augmentation:
    """Strength of each augmentation. ``hflip`` is off by default because a flip swaps the signer's hands."""

    hflip: bool = setting(False, "mirror half of the clips")
    scale: list[float] = setting([0.6, 1.0], "area of the random crop, as a share of the picture", gt=0, le=1)
    ratio: list[float] = setting([0.75, 1.3333], "aspect ratio of the random crop", gt=0)
    brightness: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    contrast: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    saturation: float = setting(0.2, "strength of the colour jitter", ge=0, le=1)
    rotation: float = setting(0.0, "largest rotation in degrees, in either direction", ge=0, le=45)
    speed: list[float] = setting([0.9, 1.1], "range of the factor by which signs are sped up", ge=0.5, le=2)
    mixup: float = setting(0.0, "alpha of mixup, which blends two clips and their labels; 0: off", ge=0)

    def problems(self) -> Iterator[str]:
        """Yield a message for each range whose ends are swapped."""
        for key, (low, high) in (("scale", self.scale), ("ratio", self.ratio), ("speed", self.speed)):
            if low > high:
                yield f"augment.{key}={[low, high]}: the first must not be greater than the second"
