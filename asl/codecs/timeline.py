"""When the frames of a video are displayed, by its frames or by its packets alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asl.codecs.video_file import VideoError, open_video, video_stream


@dataclass(frozen=True)
class Timeline:
    """When the frames of a clip are displayed."""

    times: tuple[Fraction, ...]  # seconds; one for each frame, rising
    end: Fraction  # seconds; the last frame is displayed until then
    source_ended: bool = True  # the source has no later frame

    @property
    def duration(self) -> Fraction:
        """Seconds from the first frame's start to the last frame's end."""
        return self.end - self.times[0]


@dataclass(frozen=True)
class PacketIndex:
    """What the packets and the header of a file say, without decoding."""

    timeline: Timeline  # from the first frame
    color_matrix: int  # of YUV to RGB, as in ITU-T H.273; 2: unspecified


def read_packet_index(path: Path) -> PacketIndex:
    """Read all packets of a file without decoding them.

    Raises:
        VideoError: the file cannot be read, or its packets alone do not determine the displayed frames.
    """
    with open_video(path) as container:
        stream = video_stream(container)
        packets = [packet for packet in container.demux(stream) if packet.size]
        return PacketIndex(packet_timeline(packets, stream), int(stream.codec_context.colorspace))


def packet_timeline(packets: Sequence[Packet], stream: VideoStream) -> Timeline:
    """When the frames of a video are displayed, from its packets in any order; the first frame is at 0 s.

    Raises:
        VideoError: there is no packet, or one is damaged, has no time stamp, or is hidden by an edit list.
    """
    if not packets:
        raise VideoError("holds no frame")
    if any(packet.pts is None or packet.is_discard or packet.is_corrupt for packet in packets):
        raise VideoError("has packets without a time, hidden or damaged ones")
    displayed = sorted((packet.pts or 0, packet.duration or 0) for packet in packets)
    tick = Fraction(stream.time_base or 0)
    first_pts, (last_pts, last_duration) = displayed[0][0], displayed[-1]
    end = (last_pts - first_pts) * tick + (last_duration * tick or nominal_frame_duration(stream))
    return Timeline(tuple((pts - first_pts) * tick for pts, _ in displayed), end)


def frame_time(frame: VideoFrame) -> Fraction:
    """A frame's time stamp in seconds, by the file's own clock."""
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


def frame_duration(frame: VideoFrame, stream: VideoStream) -> Fraction:
    """For how many seconds a frame is displayed, by the file."""
    if frame.duration and frame.time_base:
        return frame.duration * frame.time_base
    return nominal_frame_duration(stream)


def nominal_frame_duration(stream: VideoStream) -> Fraction:
    """A frame's duration in seconds by the mean rate, for files that give frames none of their own."""
    return 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)
