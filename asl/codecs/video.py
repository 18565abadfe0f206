"""Probe, decode, encode and copy videos with PyAV. The only module that knows codecs.

Times are exact fractions of a second from the file's first shown frame. Anything that a decoder
finds wrong is a :class:`VideoError`: ffmpeg conceals damage and exits with 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.codec.hwaccel import HWAccel
from av.container import InputContainer, OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, VideoReformatter
from av.video.stream import VideoStream

from asl.codecs.encoders import Encoder, EncoderError, open_encoder

#: A segment that begins this much later than the last decoded frame is sought. Key frames are often
#: 8 s apart (250 frames, x264's default), so a seek costs 4 s of decoding on average.
_SEEK_BEYOND_S = 4


#: Takes a decoded, upright frame and its time in seconds since the first frame of the clip.
Sink = Callable[[VideoFrame, Fraction], None]


class VideoError(Exception):
    """What is wrong with a video, in words; the caller knows which file it is."""

    def __init__(self, message: str, reason: str = "damaged source") -> None:
        super().__init__(message)
        self.reason = reason  # a short cause, the same for all clips that it concerns: reports count by it


@dataclass(frozen=True)
class VideoInfo:
    """What a file's header and first frame say."""

    codec: str  # FFmpeg's name: h264, vp9, mpeg4, ...
    pix_fmt: str
    width: int  # pixels as stored; see turn
    height: int
    turn: tuple[str, ...]  # FFmpeg filters that bring the picture upright
    fps: float  # mean frame rate by the header; 0: unknown
    duration_s: float  # by the header; 0: unknown
    has_audio: bool

    @property
    def upright_size(self) -> tuple[int, int]:
        """``(width, height)`` as a person sees it."""
        turned = any(step.startswith("transpose") for step in self.turn)
        return (self.height, self.width) if turned else (self.width, self.height)

    @property
    def is_plain(self) -> bool:
        """Already what a clip must be: H.264, yuv420p, even size, upright."""
        return (
            self.codec == "h264"
            and self.pix_fmt == "yuv420p"
            and self.width % 2 == self.height % 2 == 0
            and not self.turn
        )


@dataclass(frozen=True)
class Timeline:
    """When the frames of a clip are shown."""

    times: tuple[Fraction, ...]  # one for each frame, rising
    end: Fraction  # when the last frame ceases to be shown
    source_ended: bool = True  # there was no later frame in the source

    @property
    def duration(self) -> Fraction:
        """From the first frame's appearance to the last one's end."""
        return self.end - self.times[0]


def probe(path: Path) -> VideoInfo:
    """Read the header and decode one frame.

    Raises:
        VideoError: not a video, or its first frame cannot be decoded.
    """
    with _open(path) as container:
        stream = _video_stream(container)
        return _info(container, stream, _first_at_once(container, stream))


@dataclass(frozen=True)
class Decoded:
    """A file of which every frame was decoded once."""

    timeline: Timeline
    info: VideoInfo
    thumbnails: npt.NDArray[np.uint8]  # (N, side, side), grey, of the frames that were asked for
    pictures: tuple[npt.NDArray[np.uint8], ...]  # each (H, W, 3), likewise


def decode(
    path: Path,
    *,
    keep: Sequence[int] = (),
    side: int = 16,
    show: Sequence[int] = (),
    show_side: int = 160,
    each: Sink | None = None,
) -> Decoded:
    """Decode every frame of a file once; what it shows when, and what it is.

    Args:
        path: the file.
        keep: frames of which a thumbnail is wanted, rising; those past the end are left out.
        side: a thumbnail's height and width in pixels, whatever the picture's aspect.
        show: frames of which a picture is wanted, likewise.
        show_side: the square into which a picture fits, in pixels.
        each: called with every frame.

    Raises:
        VideoError: any frame that cannot be decoded, frames out of order or of another size, or
            none at all.
    """
    with _open(path) as container:
        stream = _video_stream(container)
        times: list[Fraction] = []
        thumbnails: list[npt.NDArray[np.uint8]] = []
        shown: list[npt.NDArray[np.uint8]] = []
        end, info = Fraction(0), None
        scale = (VideoReformatter(), VideoReformatter())  # each keeps its filters
        for frame in _decode(container, stream):
            info = info or _info(container, stream, frame)
            if (frame.width, frame.height) != (info.width, info.height):
                raise VideoError(f"changes its picture size to {frame.width}x{frame.height}")
            while len(thumbnails) < len(keep) and keep[len(thumbnails)] == len(times):
                thumbnails.append(_thumbnail(frame, side, scale[0]))
            while len(shown) < len(show) and show[len(shown)] == len(times):
                shown.append(_picture(frame, show_side, scale[1]))
            times.append(_time(frame))
            if each is not None:
                each(frame, times[-1] - times[0])
            end = times[-1] + _shown_for(frame, stream)
        if info is None:
            raise VideoError("holds no frame")
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise VideoError("has time stamps that do not rise")
        zero = times[0]
        timeline = Timeline(tuple(time - zero for time in times), end - zero)
        kept = np.array(thumbnails, np.uint8).reshape(-1, side, side)
        return Decoded(timeline, info, kept, tuple(shown))


def _thumbnail(frame: VideoFrame, side: int, scale: VideoReformatter) -> npt.NDArray[np.uint8]:
    small = scale.reformat(frame, width=side, height=side, format="gray", interpolation="AREA", threads=1)
    return small.to_ndarray().astype(np.uint8, copy=False)


def _picture(frame: VideoFrame, side: int, scale: VideoReformatter) -> npt.NDArray[np.uint8]:
    share = side / max(frame.width, frame.height)
    width, height = (max(1, round(n * share)) for n in (frame.width, frame.height))
    small = scale.reformat(frame, width=width, height=height, format="rgb24", interpolation="AREA", threads=1)
    return small.to_ndarray().astype(np.uint8, copy=False)


class Shrinker:
    """Frames to small RGB arrays, all of one size.

    By way of yuv444p at the small size: three times as fast as FFmpeg's own way to RGB, and without its
    bias of a grey level or two in large pictures.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = {"width": width, "height": height}
        self._scale, self._convert = VideoReformatter(), VideoReformatter()  # each keeps its filters

    def __call__(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        """``(height, width, 3)`` uint8."""
        how: dict[str, Any] = {"interpolation": "BILINEAR", "threads": 1}
        small = self._scale.reformat(frame, **self._size, format="yuv444p", **how)
        return self._convert.reformat(small, format="rgb24", **how).to_ndarray().astype(np.uint8, copy=False)


def pictures(path: Path, frames: Sequence[int], *, side: int) -> list[npt.NDArray[np.uint8]]:
    """Chosen frames of a clip in colour, each ``(H, W, 3)``, as large as fits into a square.

    Args:
        path: the file.
        frames: their indices, from 0, rising; one may stand there several times.
        side: the square's side in pixels.

    Raises:
        VideoError: any frame up to the last chosen one cannot be decoded, or there is no such frame.
    """
    with _open(path) as container:
        taken: list[npt.NDArray[np.uint8]] = []
        scale = VideoReformatter()
        for index, frame in enumerate(_decode(container, _video_stream(container))):
            while len(taken) < len(frames) and frames[len(taken)] == index:
                taken.append(_picture(frame, side, scale))
            if len(taken) == len(frames):
                return taken
        raise VideoError(f"has no frame {frames[len(taken)]}")


def copy(source: Path, target: Path, *, audio: bool = False) -> Timeline:
    """Copy a whole video into an MP4 without re-encoding; returns when its frames are to be shown.

    What only a decoder sees, a turned picture for one, is copied too: look at the result.

    Raises:
        VideoError: it is not H.264, yuv420p and even-sized by its header, or has packets that cannot be
            copied as they are (an edit list that hides frames, missing time stamps, damage that the
            container knows of).
    """
    with _open(source) as container, _create(target) as output:
        stream = _video_stream(container)
        context = stream.codec_context
        even = context.width % 2 == context.height % 2 == 0
        if (context.name, context.pix_fmt, even) != ("h264", "yuv420p", True):
            raise VideoError("cannot be copied as it is")
        sources = [stream, *(container.streams.audio[:1] if audio else ())]
        packets = [packet for packet in container.demux(*sources) if packet.size]
        pictures = [packet for packet in packets if packet.stream_index == stream.index]
        if not pictures:
            raise VideoError("holds no frame")
        if any(packet.pts is None or packet.is_discard or packet.is_corrupt for packet in pictures):
            raise VideoError("cannot be copied as it is")
        _fill_dts(pictures)
        target_of = {one.index: output.add_stream_from_template(one) for one in sources}
        shown = sorted((packet.pts or 0, packet.duration or 0) for packet in pictures)
        for packet in packets:
            packet.stream = target_of[packet.stream_index]
            output.mux(packet)
        tick = Fraction(stream.time_base or 0)
        zero, (last, duration) = shown[0][0], shown[-1]
        end = (last - zero) * tick + (duration * tick or _nominal(stream))
        return Timeline(tuple((pts - zero) * tick for pts, _ in shown), end)


def _fill_dts(packets: list[Packet]) -> None:
    """Give packets in decoding order the decoding times that Matroska leaves out.

    They are the display times in rising order, moved back as far as reordering needs:
    shown at 0 3 1 2 -> decoded at -2 -1 0 1, none after its display.
    """
    if all(packet.dts is not None for packet in packets):
        return
    shown = sorted(packet.pts or 0 for packet in packets)
    back = max(rising - (packet.pts or 0) for rising, packet in zip(shown, packets, strict=True))
    for rising, packet in zip(shown, packets, strict=True):
        packet.dts = rising - back


class Reader:
    """A source that is open for cutting; segments in rising order are decoded without going back.

    Frames before a segment that are not key frames must be decoded too, and are half the work where
    every segment is reached on its own.
    """

    def __init__(self, path: Path, *, seeks: bool = True, on_gpu: bool = False) -> None:
        self.path, self.seeks, self.on_gpu = path, seeks, on_gpu
        self._closing = ExitStack()
        self._container: InputContainer | None = None
        self._done_s = Fraction(0)  # all frames before this have been decoded

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget the place in the file; the next segment opens it again."""
        self._container = None
        self._closing.close()

    def span(self, start_s: Fraction, end_s: Fraction | None) -> _Span:
        """Be ready to decode the frames of ``[start_s, end_s)``.

        Raises:
            VideoError: the file cannot be opened, or its beginning cannot be decoded.
        """
        behind = self._container is not None and start_s < self._done_s
        if self._container is None or behind:
            self.close()
            self._container = self._closing.enter_context(_open(self.path, on_gpu=self.on_gpu))
            self.stream = _video_stream(self._container)
            self._frames = _decode(self._container, self.stream)
            self.ahead: VideoFrame | None = _first(self._frames)  # decoded, and of no segment yet
            self.zero = _time(self.ahead)
            self._done_s = Fraction(0)
        ahead_s = start_s if self.ahead is None else _time(self.ahead) - self.zero
        if self.seeks and start_s - ahead_s > _SEEK_BEYOND_S:
            self._seek(self._container, start_s)
        return _Span(self, start_s, end_s)

    def advance(self) -> None:
        """Decode one frame further."""
        self.ahead = next(self._frames, None)

    def done(self, until_s: Fraction) -> None:
        """All frames before this are decoded."""
        self._done_s = until_s

    @property
    def audio(self) -> AudioStream | None:
        """The sound of the file that is open."""
        sounds = self._container.streams.audio if self._container is not None else ()
        return sounds[0] if sounds else None

    def _seek(self, container: InputContainer, start_s: Fraction) -> None:
        tick = self.stream.time_base or Fraction(1)
        container.seek(int((self.zero + start_s) / tick), stream=self.stream)
        self._frames = _decode(container, self.stream)
        self.ahead = _first(self._frames)
        if _time(self.ahead) - self.zero > start_s:
            raise VideoError("cannot be sought")


def encode(
    source: Path,
    target: Path,
    *,
    start_s: Fraction = Fraction(0),
    end_s: Fraction | None = None,
    encoder: Encoder,
    audio: bool = False,
    reader: Reader | None = None,
    each: Sink | None = None,
) -> Timeline:
    """Encode exactly the frames whose time lies in ``[start_s, end_s)``: H.264, yuv420p, even, upright.

    Time stamps are kept, so any frame rate, also a variable one, stays what it is.

    Args:
        source: the file to cut from.
        target: the MP4 to write.
        start_s: seconds from the source's first frame.
        end_s: seconds; None: to the source's end.
        encoder: which one, and whether the GPU decodes for it.
        audio: keep the sound of the span, as AAC.
        reader: of the same source, from the segment before; None: the file is opened.
        each: called with every frame of the span, from the first again where a seek went wrong.

    Returns:
        When the frames are shown, in seconds of the source.

    Raises:
        VideoError: a frame of the span, or one that it depends on, cannot be decoded; no frame
            lies in the span.
    """
    options: dict[str, Any] = {
        "start_s": start_s,
        "end_s": end_s,
        "encoder": encoder,
        "audio": audio,
        "each": each,
    }
    try:
        with ExitStack() as closing:
            opened = reader or closing.enter_context(Reader(source, on_gpu=encoder.hwaccel))
            return _encode(opened, target, **options)
    except VideoError as error:
        if reader is not None:
            reader.close()
        if error.reason == "encoder" or (start_s <= 0 and not encoder.hwaccel):
            raise
    # Some files lose frames after a seek, and what a GPU cannot decode a CPU may.
    with Reader(source, seeks=False) as patient:
        return _encode(patient, target, **options)


def _encode(
    reader: Reader,
    target: Path,
    *,
    start_s: Fraction,
    end_s: Fraction | None,
    encoder: Encoder,
    audio: bool,
    each: Sink | None,
) -> Timeline:
    frames = reader.span(start_s, end_s)
    with _create(target) as output:
        sound = reader.audio if audio else None
        timeline = _encode_frames(output, frames, sound, encoder, each=each)
        if sound is not None:
            begin_s = frames.zero + start_s
            _encode_audio(reader.path, output, start_s=begin_s, duration_s=timeline.duration)
    return replace(timeline, source_ended=frames.source_ended)


def decode_span(
    source: Path, each: Sink, *, start_s: Fraction = Fraction(0), end_s: Fraction | None = None
) -> None:
    """Show ``each`` the frames that :func:`encode` would encode, and encode nothing.

    Raises:
        VideoError: as :func:`encode`.
    """
    try:
        _show_span(source, each, start_s, end_s, seeks=True)
    except VideoError:
        if start_s <= 0:
            raise
        _show_span(source, each, start_s, end_s, seeks=False)


def _show_span(source: Path, each: Sink, start_s: Fraction, end_s: Fraction | None, *, seeks: bool) -> None:
    with Reader(source, seeks=seeks) as reader:
        upright: _Upright | None = None
        zero = Fraction(0)
        for frame in reader.span(start_s, end_s):
            if upright is None:
                upright, zero = _Upright(frame), _time(frame)
            time = _time(frame) - zero
            each(upright(frame), time)
        if upright is None:
            raise VideoError("shows no frame in the segment", "empty segment")


@dataclass(frozen=True)
class Index:
    """What a file's packets say without any of them being decoded."""

    times: tuple[Fraction, ...]  # of the frames in the order in which they are shown, from the first
    end: Fraction
    codec: str
    pix_fmt: str
    width: int
    height: int
    matrix: int  # of YUV to RGB, as in ITU-T H.273; 2: not said


def read_index(path: Path) -> Index:
    """Read all packets of a file, decoding none.

    Raises:
        VideoError: it cannot be read, or packets alone do not say which frames are shown when.
    """
    with _open(path) as container:
        stream = _video_stream(container)
        packets = [packet for packet in container.demux(stream) if packet.size]
        if any(packet.pts is None or packet.is_discard or packet.is_corrupt for packet in packets):
            raise VideoError("has packets without a time, hidden or damaged ones")
        if not packets:
            raise VideoError("holds no frame")
        shown = sorted((packet.pts or 0, packet.duration or 0) for packet in packets)
        tick, zero = Fraction(stream.time_base or 0), shown[0][0]
        end = (shown[-1][0] - zero) * tick + (shown[-1][1] * tick or _nominal(stream))
        context = stream.codec_context
        return Index(
            times=tuple((pts - zero) * tick for pts, _ in shown),
            end=end,
            codec=context.name,
            pix_fmt=context.pix_fmt or "",
            width=context.width,
            height=context.height,
            matrix=int(context.colorspace),
        )


# ---------------------------------------------------------------- reading


@contextmanager
def _open(path: Path, *, on_gpu: bool = False) -> Iterator[InputContainer]:
    # Decoders without a GPU's help, AV1's for one, and pictures that this GPU does not take stay on the CPU.
    hwaccel = HWAccel("cuda", allow_software_fallback=True) if on_gpu else None
    try:
        with av.open(str(path), metadata_errors="ignore", hwaccel=hwaccel) as container:
            yield container
    except FileNotFoundError:
        raise VideoError("is gone", "unreadable file") from None
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"cannot be read: {_said(error)}", "unreadable file") from None


def _said(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)


def _video_stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise VideoError("holds no video stream", "unreadable file")
    stream = container.streams.video[0]
    # One thread each: clips run side by side, one process a core.
    stream.codec_context.thread_count = 1
    # Without it, damaged pictures are concealed and come out as if they were good.
    stream.codec_context.options = {"err_detect": "explode"}
    return stream


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """Frames in the order in which they are shown; damage is an error."""
    last: Fraction | None = None
    try:
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise VideoError(f"is damaged{_after(last)}")
            for frame in packet.decode():
                if frame.pts is None:
                    frame.pts = frame.dts
                if frame.pts is None:
                    raise VideoError(f"has a frame without a time stamp{_after(last)}")
                if frame.is_corrupt:
                    raise VideoError(f"has a damaged frame{_after(last)}")
                last = _time(frame)
                yield frame
    except av.FFmpegError as error:
        raise VideoError(f"cannot be decoded{_after(last)}: {_said(error)}") from None


def _first(frames: Iterator[VideoFrame]) -> VideoFrame:
    frame = next(frames, None)
    if frame is None:
        raise VideoError("holds no frame")
    return frame


def _first_at_once(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """The first frame, without decoding those that a decoder wants to see before it gives it out."""
    try:
        for packet in container.demux(stream):
            frames = packet.decode() or stream.codec_context.decode(None)
            if frames:
                return frames[0]
            stream.codec_context.flush_buffers()
    except av.FFmpegError as error:
        raise VideoError(f"cannot be decoded from its first frame: {_said(error)}") from None
    raise VideoError("holds no frame")


def _info(container: InputContainer, stream: VideoStream, frame: VideoFrame) -> VideoInfo:
    if stream.duration and stream.time_base:
        duration_s = float(stream.duration * stream.time_base)
    else:
        duration_s = (container.duration or 0) / av.time_base
    return VideoInfo(
        codec=stream.codec_context.name,
        pix_fmt=frame.format.name,
        width=frame.width,
        height=frame.height,
        turn=_turn(frame),
        fps=float(stream.average_rate or 0),
        duration_s=duration_s,
        has_audio=bool(container.streams.audio),
    )


def _after(time: Fraction | None) -> str:
    return " from its first frame" if time is None else f" after {float(time):.3f} s"


def _time(frame: VideoFrame) -> Fraction:
    assert frame.pts is not None
    assert frame.time_base is not None
    return frame.pts * frame.time_base


def _nominal(stream: VideoStream) -> Fraction:
    """A frame's duration by the header, where the file gives none for the frame itself."""
    return 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)


def _shown_for(frame: VideoFrame, stream: VideoStream) -> Fraction:
    if frame.duration and frame.time_base:
        return frame.duration * frame.time_base
    return _nominal(stream)


class _Span:
    """Iterate over the frames of a span; afterwards ``source_ended`` and ``next_pts`` are known."""

    def __init__(self, reader: Reader, start_s: Fraction, end_s: Fraction | None) -> None:
        self.reader, self.stream, self.zero = reader, reader.stream, reader.zero
        self.start_s, self.end_s = start_s, end_s
        self.source_ended = False
        self.ends_s = Fraction(0)  # when the last decoded frame ceases to be shown
        self.next_pts: int | None = None  # of the first frame after the span

    def __iter__(self) -> Iterator[VideoFrame]:
        while (frame := self.reader.ahead) is not None:
            time = _time(frame) - self.zero
            self.ends_s = time + _shown_for(frame, self.stream)
            if self.end_s is not None and time >= self.end_s:
                self.next_pts = frame.pts
                self.reader.done(self.end_s)
                return
            if time >= self.start_s:
                yield frame
            self.reader.advance()
        self.source_ended = True
        self.reader.close()


# ---------------------------------------------------------------- upright


def _turn(frame: VideoFrame) -> tuple[str, ...]:
    """The filters that undo a display matrix.

    The cases are those of FFmpeg's own autorotation (fftools/ffmpeg_filter.c), on the linear part
    of the matrix (a, b, u, c, d, v, ...): quarter turns, and mirrors.
    """
    side_data: Any = frame.side_data.get(SideDataType.DISPLAYMATRIX)  # type: ignore[call-overload]
    if side_data is None:
        return ()
    a, b, _, c, d, *_ = np.frombuffer(bytes(side_data), dtype=np.int32).tolist()
    if abs(a) > abs(b):
        return (("hflip",) if a < 0 else ()) + (("vflip",) if d < 0 else ())
    if b > 0:
        return ("transpose=cclock_flip",) if c > 0 else ("transpose=clock",)
    return ("transpose=clock_flip",) if c < 0 else ("transpose=cclock",)


class _Upright:
    """Frames to yuv420p, even size and upright; those that are so already pass untouched."""

    def __init__(self, first: VideoFrame) -> None:
        self.size = (first.width, first.height, first.format.name)
        steps = list(_turn(first))
        if first.width % 2 or first.height % 2:  # libx264 refuses odd sizes: lose the last row or column
            steps.append("crop=trunc(iw/2)*2:trunc(ih/2)*2:0:0:exact=1")
        if first.color_range == ColorRange.JPEG:  # full range: decoders name such a clip yuvj420p
            steps.append("scale=out_range=tv")
        if first.format.name != "yuv420p":
            steps.append("format=yuv420p")
        self.graph = self._build(first, steps) if steps else None

    @staticmethod
    def _build(first: VideoFrame, steps: list[str]) -> Graph:
        graph = Graph()
        nodes = [
            graph.add_buffer(
                width=first.width,
                height=first.height,
                format=first.format,
                time_base=first.time_base,
            )
        ]
        for step in steps:
            name, _, args = step.partition("=")
            nodes.append(graph.add(name, args or None))
        nodes.append(graph.add("buffersink"))
        graph.link_nodes(*nodes).configure()
        return graph

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        if (frame.width, frame.height, frame.format.name) != self.size:
            raise VideoError(f"the picture changes to {frame.width}x{frame.height} {frame.format.name}")
        if self.graph is None:
            return frame
        self.graph.push(frame)
        upright = self.graph.pull()
        assert isinstance(upright, VideoFrame)
        return upright


# ---------------------------------------------------------------- writing


@contextmanager
def _create(path: Path) -> Iterator[OutputContainer]:
    try:
        with av.open(str(path), "w", format="mp4") as container:
            yield container
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError(f"cannot be written as a clip: {_said(error)}", "not writable") from None


def _encode_frames(
    output: OutputContainer,
    frames: _Span,
    sound: AudioStream | None,
    encoder: Encoder,
    *,
    each: Sink | None,
) -> Timeline:
    upright: _Upright | None = None
    target: VideoStream | None = None
    packets: list[Packet] = []
    shown: list[int] = []  # when, in ticks of the source from the first frame of the span
    zero_pts, tick, last_duration = 0, Fraction(0), 0
    for frame in frames:
        assert frame.pts is not None
        if upright is None:
            upright, zero_pts, tick = _Upright(frame), frame.pts, Fraction(frame.time_base or 0)
        pts = frame.pts - zero_pts
        if shown and pts <= shown[-1]:
            raise VideoError(f"has time stamps that do not rise{_after(_time(frame))}")
        shown.append(pts)
        last_duration = round(_shown_for(frame, frames.stream) / tick)
        picture = upright(frame)
        if each is not None:
            each(picture, pts * tick)
        picture.pts, picture.time_base = pts, tick
        picture.pict_type = 0  # the encoder chooses; the source's choice is for other neighbours
        if target is None:
            target = _h264_stream(output, frames.stream, picture, encoder)
            if sound is not None:  # streams must be known before the first packet is written
                output.add_stream("aac", rate=sound.codec_context.sample_rate)
        packets += target.encode(picture)
    if target is None:
        start = f"{float(frames.start_s):.3f} s"
        if frames.source_ended:
            ends = f"{float(frames.ends_s):.3f} s"
            raise VideoError(f"ends at {ends}, but the segment starts at {start}", "segment past the end")
        raise VideoError(f"shows no new frame between {start} and the segment's end", "empty segment")
    packets += target.encode(None)

    end = shown[-1] + last_duration if frames.next_pts is None else frames.next_pts - zero_pts
    until = dict(zip(shown, [*shown[1:], end], strict=True))
    for packet in packets:
        # The encoder gives every frame the mean duration; the last one's would be lost.
        packet.duration = until[packet.pts or 0] - (packet.pts or 0)
        output.mux(packet)
    zero = zero_pts * tick - frames.zero
    return Timeline(tuple(zero + pts * tick for pts in shown), zero + end * tick)


def _h264_stream(
    output: OutputContainer, source: VideoStream, picture: VideoFrame, encoder: Encoder
) -> VideoStream:
    rate = source.average_rate or source.guessed_rate
    encoder = encoder.for_size(picture.width, picture.height)
    fps = rate if rate and 1 <= rate <= 240 else 25
    stream = cast(VideoStream, output.add_stream(encoder.name, rate=fps))
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
    context.time_base = Fraction(picture.time_base or 0)
    context.thread_count = 1
    context.options = dict(encoder.options)
    if source.codec_context.sample_aspect_ratio:
        context.sample_aspect_ratio = source.codec_context.sample_aspect_ratio
    context.color_range = picture.color_range
    context.colorspace = picture.colorspace
    context.color_primaries = picture.color_primaries
    context.color_trc = picture.color_trc
    try:
        open_encoder(context, encoder)
    except EncoderError as error:
        raise VideoError(str(error), error.reason) from None
    return stream


def _encode_audio(source: Path, output: OutputContainer, *, start_s: Fraction, duration_s: Fraction) -> None:
    """Fill the output's audio stream with the sound of a span (seconds by the file's own clock)."""
    begin, end = float(start_s), float(start_s + duration_s)
    target = output.streams.audio[0]
    with _open(source) as container:
        sound = container.streams.audio[0]
        graph = Graph()
        nodes = [
            graph.add_abuffer(template=sound),
            graph.add("atrim", f"start={begin}:end={end}"),
            graph.add("asetpts", "PTS-STARTPTS"),
            graph.add("aformat", "sample_fmts=fltp"),
            graph.add("asetnsamples", "1024:p=0"),  # an AAC frame
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes).configure()

        def drain() -> None:
            while True:
                try:
                    frame: Any = graph.pull()
                except (av.BlockingIOError, av.EOFError):
                    return
                frame.time_base = Fraction(1, frame.sample_rate)
                for packet in target.encode(frame):
                    output.mux(packet)

        try:
            container.seek(int(begin * av.time_base))
            for frame in container.decode(sound):
                if frame.time is not None and frame.time > end:
                    break
                graph.push(frame)
                drain()
            graph.push(None)
            drain()
        except av.FFmpegError as error:
            raise VideoError(f"its sound cannot be decoded: {_said(error)}") from None
        for packet in target.encode(None):
            output.mux(packet)
