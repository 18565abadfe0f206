"""What a video is: codec, size, orientation, rate and duration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asl.codecs.clip_format import orientation_filters
from asl.codecs.video_file import VideoError, error_text, open_video, video_stream

_UNSPECIFIED = 2  # colours in ITU-T H.273


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header and first frame say."""

    codec: str  # FFmpeg's name: h264, vp9, mpeg4, ...
    pix_fmt: str  # FFmpeg's name: yuv420p, ...
    width: int  # pixels as stored; see orientation_filters
    height: int
    orientation_filters: tuple[str, ...]  # FFmpeg filters that bring the picture upright
    fps: float  # mean frame rate by the header; 0: unknown
    duration_s: float  # by the header; 0: unknown
    has_audio: bool
    header_suffices: bool = False  # an MP4 whose header says all that FFmpeg knows after decoding a frame

    @property
    def upright_size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels of the upright picture."""
        is_quarter_turn = any(step.startswith("transpose") for step in self.orientation_filters)
        return (self.height, self.width) if is_quarter_turn else (self.width, self.height)

    @property
    def is_plain(self) -> bool:
        """Whether the video has the format of a clip: H.264, yuv420p, even size, upright."""
        return (
            self.codec == "h264"
            and self.pix_fmt == "yuv420p"
            and self.width % 2 == self.height % 2 == 0
            and not self.orientation_filters
        )


def probe(path: Path) -> VideoInfo:
    """Read the header and decode one frame.

    Raises:
        VideoError: not a video, or its first frame cannot be decoded.
    """
    with open_video(path) as container:
        stream = video_stream(container)
        return video_info(container, stream, _decode_one_frame(container, stream))


def video_info(container: InputContainer, stream: VideoStream, first: VideoFrame) -> VideoInfo:
    """What an open file is, given its first decoded frame."""
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    else:
        duration_s = (container.duration or 0) / av.time_base
    return VideoInfo(
        codec=stream.codec_context.name,
        pix_fmt=first.format.name,
        width=first.width,
        height=first.height,
        orientation_filters=orientation_filters(first),
        fps=float(stream.average_rate or 0),
        duration_s=duration_s,
        has_audio=bool(container.streams.audio),
        header_suffices="mp4" in container.format.name.split(",") and not _is_tagged(stream),
    )


def _is_tagged(stream: VideoStream) -> bool:
    """Whether the stream declares colours or the shape of pixels, which may stand in its frames alone."""
    context = stream.codec_context
    colors = context.colorspace, context.color_primaries, context.color_trc
    return bool(context.sample_aspect_ratio or context.color_range) or any(
        color != _UNSPECIFIED for color in colors
    )


def _decode_one_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """The first frame, flushed out before the decoder has the later packets that it normally waits for."""
    try:
        for packet in container.demux(stream):
            frames = packet.decode() or stream.codec_context.decode(None)
            if frames:
                return frames[0]
            stream.codec_context.flush_buffers()
    except av.FFmpegError as error:
        raise VideoError(f"cannot be decoded from its first frame: {error_text(error)}") from None
    raise VideoError("holds no frame")
