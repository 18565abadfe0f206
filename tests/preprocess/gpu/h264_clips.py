"""H.264 clips in many settings, made in memory, and the parser of slices in a host compiler's build."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from host_build import build

from asl.codecs.video_file import strict_options
from asl.preprocess.gpu.h264.bitstream import Bitstream, read_bitstream
from asl.preprocess.gpu.h264.source import parser_source
from benchmarks import host_parser


class HostSliceParser(host_parser.HostSliceParser):
    """The parser that the GPU runs, compiled for this machine."""

    def __init__(self, folder: Path, flags: Sequence[str] = ()) -> None:
        self._library = build(parser_source(), folder, flags=flags)
        super().__init__(self._library)


#: With rate control or weighted prediction, x264 does not always write the same stream.
_SAME = "qp=22:weightp=0"


def encode(
    x264: str = "",
    *,
    size: tuple[int, int] = (176, 144),
    frames: int = 12,
    grain: float = 6,
    pix_fmt: str = "yuv420p",
    **options: str,
) -> bytes:
    """An MP4 of a moving blob before a noisy wall.

    Args:
        x264: ``x264-params``, added to a constant quantizer and no weighted prediction.
        size: width and height in pixels.
        frames: how many.
        grain: standard deviation of the noise in grey levels.
        pix_fmt: FFmpeg's name of the pixel format.
        options: of libx264 in FFmpeg.
    """
    width, height = size
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream(
            "libx264", rate=25, options={"x264-params": f"{_SAME}:{x264}", **options}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.thread_count = 1  # more threads would cut pictures into slices
        for i in range(frames):
            centre = width * (0.5 + 0.3 * np.sin(i / 3)), height * (0.5 + 0.3 * np.cos(i / 2))
            blob = 90 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (height / 8) ** 2)
            picture = 100 + 40 * np.sin(3 * x / height) + blob + rng.normal(0, grain, (height, width))
            rgb = np.stack([picture, 0.9 * picture, 255 - picture], -1).clip(0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def demux(mp4: bytes) -> tuple[bytes, list[bytes]]:
    """Extradata and packets of an MP4."""
    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        extradata = stream.codec_context.extradata
        assert extradata
        return extradata, [bytes(packet) for packet in container.demux(stream) if packet.size]


def bitstream(mp4: bytes) -> Bitstream:
    """The stream of an MP4, with the order of its time stamps."""
    return read_bitstream(*demux(mp4), ranks_of(mp4))


def ranks_of(mp4: bytes) -> list[int]:
    """The time stamp of each packet of an MP4."""
    with av.open(io.BytesIO(mp4)) as container:
        return [packet.pts or 0 for packet in container.demux(container.streams.video[0]) if packet.size]


def is_refused_by_ffmpeg(extradata: bytes, packets: Sequence[bytes]) -> bool:
    """Whether FFmpeg's strict decoder finds an error in a stream."""
    context: Any = av.CodecContext.create("h264", "r")
    context.extradata, context.thread_count = extradata, 1
    context.options = strict_options("h264")
    try:
        pictures = [*(f for p in packets for f in context.decode(av.Packet(p))), *context.decode(None)]
    except av.FFmpegError:
        return True
    return len(pictures) != len(packets) or any(picture.is_corrupt for picture in pictures)
