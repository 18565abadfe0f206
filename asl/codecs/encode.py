"""Encode a time span of a video as a clip: an MP4 of H.264, yuv420p, even size, upright."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, cast

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from asl.codecs.audio import encode_audio
from asl.codecs.clip_format import ClipFormatFilter
from asl.codecs.decoder import FrameCallback, after_text
from asl.codecs.encoder import Encoder
from asl.codecs.packets import SuppliedSegment
from asl.codecs.segments import Segment, SegmentReader
from asl.codecs.timeline import Timeline, frame_duration, frame_time
from asl.codecs.video_file import VideoError, create_mp4


def encode_segment(
    source: Path,
    target: Path,
    *,
    start_s: Fraction = Fraction(0),
    end_s: Fraction | None = None,
    encoder: Encoder,
    audio: bool = False,
    reader: SegmentReader | None = None,
    on_frame: FrameCallback | None = None,
) -> Timeline:
    """Encode exactly the frames whose time lies in ``[start_s, end_s)``.

    Time stamps are kept, so that the frame rate, constant or variable, stays the same.

    Args:
        source: the file to cut from.
        target: the MP4 to write.
        start_s: seconds from the source's first frame.
        end_s: seconds; None: the source's end.
        encoder: of the pictures; also names the device that decodes the source.
        audio: also encode the sound of the segment, as AAC.
        reader: of the same source, after an earlier segment; None: the source is opened for this one.
        on_frame: called with every frame of the clip; where a first attempt fails, again from the first.

    Returns:
        When the frames are displayed, in seconds from the source's first frame.

    Raises:
        VideoError: a frame of the segment, or one that it depends on, cannot be decoded; no frame
            lies in the segment.
    """
    options: dict[str, Any] = {
        "start_s": start_s,
        "end_s": end_s,
        "encoder": encoder,
        "audio": audio,
        "on_frame": on_frame,
    }
    try:
        with ExitStack() as exit_stack:
            opened = reader or exit_stack.enter_context(SegmentReader(source, hwaccel=encoder.hwaccel))
            return encode_read_segment(opened, target, **options)
    except VideoError as error:
        if reader is not None:
            reader.close()
        if error.reason == "encoder" or (start_s <= 0 and encoder.hwaccel is None):
            raise
    # Some files lose frames after a seek, and software decodes what a device may not support.
    with SegmentReader(source, seeks=False) as software_reader:
        return encode_read_segment(software_reader, target, **options)


class Reader(Protocol):
    """Gives the frames of segments of one file."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def audio(self) -> AudioStream | None:
        """Its first audio stream, once a segment is read."""

    def segment(self, start_s: Fraction, end_s: Fraction | None) -> Segment | SuppliedSegment:
        """The segment ``[start_s, end_s)``."""


def encode_read_segment(
    reader: Reader,
    target: Path,
    *,
    start_s: Fraction,
    end_s: Fraction | None,
    encoder: Encoder,
    audio: bool,
    on_frame: FrameCallback | None,
) -> Timeline:
    """Like :func:`encode_segment`, with the frames that ``reader`` gives and no second attempt."""
    segment = reader.segment(start_s, end_s)
    with create_mp4(target) as output:
        sound = reader.audio if audio else None
        timeline = _encode_frames(output, segment, sound, encoder, on_frame=on_frame)
        if sound is not None:
            begin_s = segment.first_s + start_s
            encode_audio(reader.path, output, start_s=begin_s, duration_s=timeline.duration)
    return replace(timeline, source_ended=segment.source_ended)


def _encode_frames(
    output: OutputContainer,
    segment: Segment | SuppliedSegment,
    sound: AudioStream | None,
    encoder: Encoder,
    *,
    on_frame: FrameCallback | None,
) -> Timeline:
    to_clip_format: Callable[[VideoFrame], VideoFrame] | None = None
    target: VideoStream | None = None
    packets: list[Packet] = []
    displayed: list[int] = []  # ticks of the source from the first frame of the segment
    first_pts, tick, last_duration = 0, Fraction(0), 0
    for frame in segment:
        assert frame.pts is not None
        if to_clip_format is None:
            # Supplied frames are what a clip must be; NV12 is what encoders use inside.
            is_supplied = isinstance(segment, SuppliedSegment)
            to_clip_format = _unchanged if is_supplied else ClipFormatFilter(frame)
            first_pts, tick = frame.pts, Fraction(frame.time_base or 0)
        pts = frame.pts - first_pts
        if displayed and pts <= displayed[-1]:
            raise VideoError(f"has time stamps that do not rise{after_text(frame_time(frame))}")
        displayed.append(pts)
        last_duration = round(frame_duration(frame, segment.stream) / tick)
        picture = to_clip_format(frame)
        if on_frame is not None:
            on_frame(picture, pts * tick)
        picture.pts, picture.time_base = pts, tick
        picture.pict_type = 0  # the encoder chooses; the source's choice depended on frames outside the clip
        if target is None:
            target = _add_video_stream(output, segment.stream, picture, encoder)
            if sound is not None:  # streams must be added before the first packet is written
                output.add_stream("aac", rate=sound.codec_context.sample_rate)
        packets += target.encode(picture)
    if target is None:
        raise _no_frame_error(segment)
    packets += target.encode(None)

    end = displayed[-1] + last_duration if segment.next_pts is None else segment.next_pts - first_pts
    end_of = dict(zip(displayed, [*displayed[1:], end], strict=True))
    for packet in packets:
        # The encoder gives every frame the mean duration, so the last one's own would be lost.
        packet.duration = end_of[packet.pts or 0] - (packet.pts or 0)
        output.mux(packet)
    start_s = first_pts * tick - segment.first_s
    return Timeline(tuple(start_s + pts * tick for pts in displayed), start_s + end * tick)


def _unchanged(frame: VideoFrame) -> VideoFrame:
    return frame


def _no_frame_error(segment: Segment | SuppliedSegment) -> VideoError:
    start = f"{float(segment.start_s):.3f} s"
    if segment.source_ended:
        end = f"{float(segment.decoded_end_s):.3f} s"
        return VideoError(f"ends at {end}, but the segment starts at {start}", "segment past the end")
    return VideoError(f"shows no new frame between {start} and the segment's end", "empty segment")


def _add_video_stream(
    output: OutputContainer, source: VideoStream, picture: VideoFrame, encoder: Encoder
) -> VideoStream:
    rate = source.average_rate or source.guessed_rate
    encoder = encoder.for_size(picture.width, picture.height)
    fps = rate if rate and 1 <= rate <= 240 else 25
    stream = cast(VideoStream, output.add_stream(encoder.name, rate=fps))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = picture.width, picture.height, picture.format.name
    context.time_base = Fraction(picture.time_base or 0)
    context.thread_count = 1
    context.options = dict(encoder.options)
    if source.codec_context.sample_aspect_ratio:
        context.sample_aspect_ratio = source.codec_context.sample_aspect_ratio
    context.color_range = picture.color_range
    context.colorspace = picture.colorspace
    context.color_primaries = picture.color_primaries
    context.color_trc = picture.color_trc
    encoder.open(context)
    return stream
