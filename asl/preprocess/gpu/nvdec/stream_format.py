"""What the sequence header of a stream says about its pictures, and whether NVDEC can decode them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asl.preprocess.gpu.nvdec import cuvid

_SPARE_SURFACES = 4  # beyond those that hold reference pictures, so that pictures are decoded ahead


class NvdecError(Exception):
    """Why NVDEC cannot decode a clip, as a predicate ("is interlaced")."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class StreamFormat:
    """How pictures lie in a surface, and what their colours mean.

    Attributes:
        surfaces: number of surfaces that the stream is decoded with.
        matrix_coefficients: as in ITU-T H.273; 2: not given.
    """

    coded_width: int  # pixels
    coded_height: int
    left: int  # pixels that are cropped
    top: int
    width: int  # pixels that are left
    height: int
    surfaces: int
    matrix_coefficients: int
    full_range: bool


def stream_format(form: Any, caps: Any) -> StreamFormat:
    """The format of a stream that the GPU can decode.

    Args:
        form: the parser's ``CUVIDEOFORMAT``.
        caps: the ``CUVIDDECODECAPS`` for its codec, 8 bits and 4:2:0.

    Raises:
        NvdecError: the stream is not decoded here, or the GPU cannot decode it.
    """
    if form.chroma_format != cuvid.CHROMA_420:
        raise NvdecError("has no 4:2:0 chroma")
    if form.bit_depth_luma_minus8 or form.bit_depth_chroma_minus8:
        raise NvdecError("has more than 8 bits a sample")
    if not form.progressive_sequence:
        raise NvdecError("is interlaced")
    if not caps.bIsSupported:
        raise NvdecError("has a codec that this GPU cannot decode")
    width, height = form.coded_width, form.coded_height
    if not (
        caps.nMinWidth <= width <= caps.nMaxWidth
        and caps.nMinHeight <= height <= caps.nMaxHeight
        and width * height // 256 <= caps.nMaxMBCount
    ):
        raise NvdecError(
            f"has pictures of {width}x{height}; this GPU decodes {caps.nMinWidth}x{caps.nMinHeight} to "
            f"{caps.nMaxWidth}x{caps.nMaxHeight}"
        )
    area = form.display_area
    return StreamFormat(
        coded_width=width,
        coded_height=height,
        left=area.left,
        top=area.top,
        width=area.right - area.left,
        height=area.bottom - area.top,
        surfaces=form.min_num_decode_surfaces + _SPARE_SURFACES,
        matrix_coefficients=form.matrix_coefficients,
        full_range=bool(form.video_full_range_flag),
    )
