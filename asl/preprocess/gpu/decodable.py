"""What a GPU's decoder takes, by a file's header."""

from __future__ import annotations

from asl.preprocess.sources.raw_files import RawVideo

#: Smallest width and height in pixels that an H100's decoder takes, by codec; other cards may take less.
#: The host decodes what is missing here. AV1 is missing because no card before Ada decodes it.
_MIN_SIZE = {"h264": (48, 16), "hevc": (144, 144), "vp8": (48, 16), "vp9": (128, 128), "mpeg4": (48, 16)}

_PIX_FMTS = ("yuv420p", "yuvj420p")


def unsupported_reason(raw: RawVideo) -> str | None:
    """Why the GPU cannot decode this source, by its header. None if it may be able to."""
    if raw.codec not in _MIN_SIZE:
        return f"codec {raw.codec}"
    if raw.pix_fmt not in _PIX_FMTS:
        return f"pixel format {raw.pix_fmt}"
    if raw.turned:
        return "turned picture"
    if raw.width % 2 or raw.height % 2:
        return "odd picture size"
    if raw.width < _MIN_SIZE[raw.codec][0] or raw.height < _MIN_SIZE[raw.codec][1]:
        return f"picture too small for {raw.codec}"
    return None
