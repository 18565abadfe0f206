"""Choose the part of a picture that the network gets. Pure functions of numbers.

Stored frames keep the aspect ratio of the video. They are brought to ``resize`` when they are read; of the
result, evaluation takes the middle ``crop_size`` and training a random part::

    picture -> square of the picture (chosen here) -> resize -> crop_size
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from asl.config.setting import setting
from asl.contract.frame_store import SIGNER, longer_side
from asl.contract.manifest import Box

SQUEEZE, PAD, CROP = "squeeze", "pad", "crop"


@dataclass(frozen=True)
class Square:
    """A square of a picture in pixels. It may reach beyond the picture, where it is black."""

    top: float
    left: float
    side: float


@dataclass(kw_only=True)
class Framing:
    """The part of a picture that the network gets, and its size."""

    resize: list[int] = setting(
        [128, 171],
        "height, width to which frames are scaled; stored frames (frames.short_side) are not enlarged",
        ge=8,
    )
    crop_size: int = setting(112, "height and width of the network's input", ge=8)
    fit: str = setting(
        SQUEEZE,
        "the whole picture in data.resize; squeeze: without its aspect ratio; pad: in a black square; crop: "
        "its middle square",
        choices=[SQUEEZE, PAD, CROP],
    )
    crop: str = setting(
        "none",
        "signer: the square around the signer's box in the manifest; the whole picture where there is none",
        choices=["none", SIGNER],
    )
    enlarge: float = setting(
        1.2, "crop=signer: side of the square, as a multiple of the box's longer side", gt=0
    )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width to which frames are brought."""
        return self.resize[0], self.resize[1]

    @staticmethod
    def of(info: Mapping[str, Any]) -> Framing:
        """The framing of a checkpoint, from its key ``asl``. Those of earlier versions have the defaults."""
        names = (field.name for field in dataclasses.fields(Framing))
        return Framing(**{name: info[name] for name in names if name in info})

    def square(self, height: int, width: int, box: Box | None = None) -> Square | None:
        """The square of a picture that fills ``resize``. None: the whole picture, squeezed.

        Evaluation sees the middle ``crop_size`` of it: the signer's square, or with ``fit=pad`` the whole
        picture. Around it training finds what it needs to move and scale the crop. With ``fit=crop`` the
        square never reaches beyond the picture: it is made smaller and moved inside.

        Args:
            height: of the picture in pixels.
            width: of the picture in pixels.
            box: of the signer. None if unknown.
        """
        middle_y, middle_x = height / 2, width / 2
        margin = self.resize[0] / self.crop_size
        if self.crop == SIGNER and box is not None:
            left, top, right, bottom = box
            middle_y, middle_x = height * (top + bottom) / 2, width * (left + right) / 2
            side = longer_side(box, width, height) * self.enlarge * margin
        elif self.fit == SQUEEZE:
            return None
        else:
            side = max(height, width) * margin
        if self.fit == CROP:
            side = min(side, height, width)
            middle_y = min(max(middle_y, side / 2), height - side / 2)
            middle_x = min(max(middle_x, side / 2), width - side / 2)
        return Square(middle_y - side / 2, middle_x - side / 2, side)

    def problems(self) -> Iterator[str]:
        """Yield a message for each setting that contradicts another one."""
        if self.crop_size > min(self.resize):
            yield f"data.crop_size={self.crop_size}: does not fit into data.resize={self.resize}"
        if self.resize[0] != self.resize[1] and (self.fit, self.crop) != (SQUEEZE, "none"):
            key = f"data.fit={self.fit}" if self.fit != SQUEEZE else f"data.crop={self.crop}"
            side = min(self.resize)
            yield f"data.resize={self.resize}: {key} needs a square; set data.resize=[{side},{side}]"
