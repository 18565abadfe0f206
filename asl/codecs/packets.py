"""All packets of a video, for a decoder that is not FFmpeg's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av

from asl.codecs.probe import VideoInfo
from asl.codecs.timeline import Timeline, packet_timeline
from asl.codecs.video_file import VideoError, error_text, open_video, video_stream


@dataclass(frozen=True)
class Packets:
    """The packets of a video in decoding order, and what the header says."""

    extradata: bytes
    data: tuple[bytes, ...]
    ranks: tuple[int, ...]  # of each packet: index of its frame in display order
    timeline: Timeline
    info: VideoInfo  # without the orientation, which only decoding may tell
    color_matrix: int  # of YUV to RGB, as in ITU-T H.273; 2: unspecified


def read_packets(path: Path) -> Packets:
    """Read all packets of a file without decoding them.

    Raises:
        VideoError: the file cannot be read, or its packets alone do not determine the displayed frames.
    """
    with open_video(path) as container:
        stream = video_stream(container)
        try:
            packets = [packet for packet in container.demux(stream) if packet.size]
        except av.FFmpegError as error:
            raise VideoError(f"cannot be read: {error_text(error)}") from None
        timeline = packet_timeline(packets, stream)
        if any(later <= earlier for earlier, later in pairwise(timeline.times)):
            raise VideoError("has time stamps that do not rise")
        context = stream.codec_context
        order = sorted(range(len(packets)), key=lambda index: packets[index].pts or 0)
        ranks = [0] * len(packets)
        for rank, index in enumerate(order):
            ranks[index] = rank
        info = VideoInfo(
            codec=context.name,
            pix_fmt=context.pix_fmt or "",
            width=context.width,
            height=context.height,
            orientation_filters=(),
            fps=float(stream.average_rate or 0),
            duration_s=float(timeline.duration),
            has_audio=bool(container.streams.audio),
        )
        return Packets(
            extradata=context.extradata or b"",
            data=tuple(bytes(packet) for packet in packets),
            ranks=tuple(ranks),
            timeline=timeline,
            info=info,
            color_matrix=int(context.colorspace),
        )
