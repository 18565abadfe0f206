"""Arguments of the kernels in ``pictures.cu``, which make small pictures of frames in the device's memory.

Nothing here needs a GPU. Compile :data:`SOURCE` once, then launch for each frame::

    kernels = device.compile(SOURCE, KERNELS)
    kernels["rgb_resize"].launch(*rgb_arguments(frame, out, (128, 171)), stream)
    kernels["grey_cells"].launch(*grey_arguments(frame, out, 16), stream)
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from asl.preprocess.gpu.color_matrices import BT601, LUMA_WEIGHTS

SOURCE = Path(__file__).with_name("pictures.cu").read_text(encoding="utf-8")
KERNELS = ("rgb_resize", "grey_cells")

#: How far right of and below the middle of its four luma pixels a position has to be taken in the chroma
#: plane, in chroma pixels, by ``chroma_sample_loc_type`` of H.264 and HEVC.
_CHROMA_SHIFTS = {
    0: (0.25, 0.0),  # left
    1: (0.0, 0.0),  # centre
    2: (0.25, 0.25),  # top left
    3: (0.0, 0.25),  # top
    4: (0.25, -0.25),  # bottom left
    5: (0.0, -0.25),  # bottom
}

#: Positions of the result's address among the arguments.
RGB_OUT, GREY_OUT = 7, 6

_RGB_BLOCK = (32, 4)  # threads: small, so that even a small picture has a block for each multiprocessor
_GREY_BLOCK = (32, 8)  # the kernel wants one warp for each y


@dataclass(frozen=True, kw_only=True)
class Nv12Picture:
    """The visible part of an NV12 surface: a plane of luma, and one of Cb and Cr in turn at half the size.

    Raises:
        ValueError: the picture is empty, begins at an odd pixel or is wider than the surface.
    """

    pointer: int  # address of the luma plane on the device
    pitch: int  # bytes from row to row, in both planes
    chroma_offset: int  # bytes from the luma plane to the chroma plane
    width: int  # pixels of the visible part
    height: int
    x: int = 0  # its first column
    y: int = 0  # its first row

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a picture of {self.width}x{self.height} pixels is empty")
        if self.x < 0 or self.y < 0 or self.x % 2 or self.y % 2:
            raise ValueError(f"a picture at ({self.x}, {self.y}) has no chroma of its own: use even numbers")
        if self.x + self.width > self.pitch:
            raise ValueError(
                f"columns up to {self.x + self.width} do not fit into rows of {self.pitch} bytes"
            )


class Launch(NamedTuple):
    """What a kernel is launched with, as ctypes values in the order of its parameters."""

    grid: tuple[int, int]  # blocks along x and y
    block: tuple[int, int]  # threads along x and y
    arguments: tuple[Any, ...]


class ColorConversion(NamedTuple):
    """Factors from Y, Cb, Cr of 8 bits to R, G, B of 0 to 255, in the order of the kernel's parameters.

    ``R = luma_gain * (Y - luma_offset) + cr_to_red * (Cr - 128)``, and so on.
    """

    luma_offset: float
    luma_gain: float
    cr_to_red: float
    cb_to_green: float
    cr_to_green: float
    cb_to_blue: float


def color_conversion(matrix: int, *, full_range: bool) -> ColorConversion:
    """The conversion to RGB that FFmpeg uses for a matrix.

    Args:
        matrix: its number in ITU-T H.273; those that are unknown, reserved or unspecified are BT.601.
        full_range: whether luma and chroma have levels 0 to 255, not 16 to 235 and 16 to 240.
    """
    red, blue = LUMA_WEIGHTS.get(matrix, BT601)
    green = 1 - red - blue
    chroma_gain = 1.0 if full_range else 255 / 224
    return ColorConversion(
        luma_offset=0.0 if full_range else 16.0,
        luma_gain=1.0 if full_range else 255 / 219,
        cr_to_red=chroma_gain * 2 * (1 - red),
        cb_to_green=-chroma_gain * 2 * (1 - blue) * blue / green,
        cr_to_green=-chroma_gain * 2 * (1 - red) * red / green,
        cb_to_blue=chroma_gain * 2 * (1 - blue),
    )


def rgb_arguments(
    picture: Nv12Picture,
    out: int,
    size: tuple[int, int],
    *,
    matrix: int = 2,
    full_range: bool = False,
    chroma_location: int = 0,
) -> Launch:
    """What to launch ``rgb_resize`` with, which writes ``(height, width, 3)`` uint8 RGB.

    The pixels are those of :class:`asl.codecs.pictures.RgbResizer` but for its rounding: they differ by 0.2
    of 255 in the mean.

    Args:
        picture: to scale, up or down.
        out: address of the result on the device.
        size: height and width of the result.
        matrix: see :func:`color_conversion`.
        full_range: likewise.
        chroma_location: ``chroma_sample_loc_type``; by default chroma lies on the left luma pixels, as in
            H.264, HEVC and MPEG-4. FFmpeg's VP8 and VP9 frames have it in the centre (1), and unknown
            numbers mean the same.

    Raises:
        ValueError: ``size`` is not positive.
    """
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"a picture cannot be scaled to {width}x{height} pixels")
    block_width, block_height = _RGB_BLOCK
    shifts = _CHROMA_SHIFTS.get(chroma_location, _CHROMA_SHIFTS[1])
    conversion = color_conversion(matrix, full_range=full_range)
    return Launch(
        grid=(-(-width // block_width), -(-height // block_height)),
        block=_RGB_BLOCK,
        arguments=(
            ctypes.c_void_p(picture.pointer),
            ctypes.c_int(picture.pitch),
            ctypes.c_longlong(picture.chroma_offset),
            *_rectangle(picture),
            ctypes.c_void_p(out),
            ctypes.c_int(width),
            ctypes.c_int(height),
            *map(ctypes.c_float, (*shifts, *conversion)),
        ),
    )


def grey_arguments(picture: Nv12Picture, out: int, side: int, *, full_range: bool = False) -> Launch:
    """What to launch ``grey_cells`` with, which writes ``(side, side)`` uint8.

    The cells are those of :func:`asl.codecs.pictures.grey_cells`, bit for bit.

    Args:
        picture: to scale.
        out: address of the result on the device.
        side: number of cells in each direction.
        full_range: whether luma has levels 0 to 255, not 16 to 235.

    Raises:
        ValueError: ``side`` is not positive.
    """
    if side < 1:
        raise ValueError(f"a picture cannot have {side}x{side} cells")
    return Launch(
        grid=(side, side),
        block=_GREY_BLOCK,
        arguments=(
            ctypes.c_void_p(picture.pointer),
            ctypes.c_int(picture.pitch),
            *_rectangle(picture),
            ctypes.c_void_p(out),
            ctypes.c_int(side),
            ctypes.c_int(full_range),
        ),
    )


def set_picture(arguments: Sequence[Any], pointer: int, pitch: int) -> None:
    """Change the arguments of either kernel for another picture of the same form.

    Args:
        arguments: of a prepared kernel.
        pointer: address of the luma plane.
        pitch: bytes from row to row; the offset of the chroma plane stays as it is.
    """
    arguments[0].value, arguments[1].value = pointer, pitch


def _rectangle(picture: Nv12Picture) -> tuple[ctypes.c_int, ...]:
    return tuple(map(ctypes.c_int, (picture.x, picture.y, picture.width, picture.height)))
