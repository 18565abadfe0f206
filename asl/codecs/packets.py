"""All packets of a video, and segments of it whose pictures a decoder other than FFmpeg's supplies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from asl.codecs.probe import VideoInfo
from asl.codecs.timeline import Timeline, packet_timeline
from asl.codecs.video_file import VideoError, error_text, open_video, video_stream

#: A picture in NV12: planes of luma (H, W), and of Cb and Cr in turn (H / 2, W), uint8.
Planes = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


@dataclass(frozen=True)
class Packets:
    """The packets of a video in decoding order, and what the header says."""

    extradata: bytes
    data: tuple[bytes, ...]
    ranks: tuple[int, ...]  # of each packet: index of its frame in display order
    timeline: Timeline
    info: VideoInfo  # without the orientation, which only decoding may tell
    color_matrix: int  # of YUV to RGB by the container, as in ITU-T H.273; 2: unspecified
    is_full_range: bool  # by the container


def read_packets(path: Path) -> Packets:
    """Read all packets of a file without decoding any; so ``info.pix_fmt`` is empty.

    Raises:
        VideoError: the file cannot be read, or its packets alone do not determine the displayed frames.
    """
    with open_video(path, decodes_frame=False) as container:
        return _read(container, video_stream(container))[0]


class PacketSource:
    """An open video whose packets have all been read. Use :func:`open_packets`.

    Attributes:
        packets: all of them.
    """

    def __init__(self, path: Path, container: InputContainer) -> None:
        self.path, self._container = path, container
        self.stream = video_stream(container)
        self.packets, packets = _read(container, self.stream)
        displayed = sorted(packets, key=lambda packet: packet.pts or 0)
        self._pts = [packet.pts or 0 for packet in displayed]
        self._durations = [packet.duration or 0 for packet in displayed]

    @property
    def audio(self) -> AudioStream | None:
        """The first audio stream, if there is one."""
        streams = self._container.streams.audio
        return streams[0] if streams else None

    def frames_in(self, start_s: Fraction, end_s: Fraction | None) -> range:
        """Indices in display order of the frames whose time lies in ``[start_s, end_s)``, in seconds."""
        times = self.packets.timeline.times
        inside = [i for i, time in enumerate(times) if time >= start_s and (end_s is None or time < end_s)]
        return range(inside[0], inside[-1] + 1) if inside else range(0)

    def segment(
        self, start_s: Fraction, end_s: Fraction | None, frames: Iterator[VideoFrame]
    ) -> SuppliedSegment:
        """The segment ``[start_s, end_s)``, with its frames in display order, see :meth:`frame`."""
        return SuppliedSegment(self, start_s, end_s, frames)

    def frame(self, index: int, planes: Planes) -> VideoFrame:
        """The frame at an index in display order, as FFmpeg's decoder gives it but for NV12."""
        context = self.stream.codec_context
        height, width = planes[0].shape
        frame = VideoFrame(width, height, "nv12")
        for plane, values in zip(frame.planes, planes, strict=True):
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            rows[: values.shape[0], : values.shape[1]] = values
        frame.pts, frame.time_base = self._pts[index], Fraction(self.stream.time_base or 0)
        frame.duration = self._durations[index]
        frame.color_range, frame.colorspace = context.color_range, context.colorspace
        frame.color_primaries, frame.color_trc = context.color_primaries, context.color_trc
        return frame

    def pts(self, index: int) -> int | None:
        """Time stamp of the frame at an index in display order; None behind the last one."""
        return self._pts[index] if index < len(self._pts) else None


class SuppliedSegment:
    """Like :class:`asl.codecs.segments.Segment`, an iterable of the frames of ``[start_s, end_s)``."""

    def __init__(
        self, source: PacketSource, start_s: Fraction, end_s: Fraction | None, frames: Iterator[VideoFrame]
    ) -> None:
        self.stream, self.start_s, self.end_s = source.stream, start_s, end_s
        self._frames = frames
        self._indices = source.frames_in(start_s, end_s)
        timeline = source.packets.timeline
        tick = Fraction(source.stream.time_base or 0)
        self.first_s = (source.pts(0) or 0) * tick  # of the file, by its own clock
        self.next_pts = source.pts(self._indices.stop) if self._indices else None
        self.source_ended = self.next_pts is None
        self.decoded_end_s = timeline.end

    def __iter__(self) -> Iterator[VideoFrame]:
        for _, frame in zip(self._indices, self._frames, strict=True):
            yield frame


@contextmanager
def open_packets(path: Path) -> Iterator[PacketSource]:
    """Open a video and read all of its packets, without decoding them.

    Raises:
        VideoError: see :func:`read_packets`.
    """
    with open_video(path) as container:
        yield PacketSource(path, container)


def _read(container: InputContainer, stream: VideoStream) -> tuple[Packets, Sequence[Packet]]:
    try:
        packets: list[Any] = [packet for packet in container.demux(stream) if packet.size]
    except av.FFmpegError as error:
        raise VideoError(f"cannot be read: {error_text(error)}") from None
    if len(packets) < stream.frames:
        raise VideoError(f"is cut off: {len(packets)} of {stream.frames} frames are there")
    timeline = packet_timeline(packets, stream)
    if any(later <= earlier for earlier, later in pairwise(timeline.times)):
        raise VideoError("has time stamps that do not rise")
    context = stream.codec_context
    ranks = [0] * len(packets)
    for rank, index in enumerate(sorted(range(len(packets)), key=lambda index: packets[index].pts)):
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
    found = Packets(
        extradata=context.extradata or b"",
        data=tuple(bytes(packet) for packet in packets),
        ranks=tuple(ranks),
        timeline=timeline,
        info=info,
        color_matrix=int(context.colorspace),
        is_full_range=context.color_range == ColorRange.JPEG,
    )
    return found, packets
