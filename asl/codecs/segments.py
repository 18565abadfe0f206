"""Decode the frames of a time span, and of several spans of one file without decoding any frame twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame

from asl.codecs.clip_format import ClipFormatFilter
from asl.codecs.decoder import FrameCallback, after_text, decode_frames, first_frame
from asl.codecs.timeline import Timeline, frame_duration, frame_time
from asl.codecs.video_file import VideoError, has_display_times, open_video, video_stream

#: Seconds from the last decoded frame from which a later segment is reached by a seek. Key frames are
#: often 8 s apart (250 frames, x264's default), so a seek costs 4 s of decoding on average.
_SEEK_BEYOND_S = 4


class SegmentReader:
    """An open source file. Segments that are read in rising order are decoded without going back.

    A segment that is reached by a seek costs the decoding of all frames since the key frame before it,
    about half of the work where every segment is read on its own. A context manager.

    Args:
        path: the file.
        seeks: whether distant segments are reached by a seek; False: all frames before them are decoded.
        hwaccel: as for :func:`asl.codecs.video_file.open_video`.
    """

    def __init__(self, path: Path, *, seeks: bool = True, hwaccel: str | None = None) -> None:
        self.path, self.seeks, self.hwaccel = path, seeks, hwaccel
        self._exit_stack = ExitStack()
        self._container: InputContainer | None = None
        self._decoded_until_s = Fraction(0)

    def __enter__(self) -> SegmentReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next segment opens it again."""
        self._container = None
        self._exit_stack.close()

    def segment(self, start_s: Fraction, end_s: Fraction | None) -> Segment:
        """The segment ``[start_s, end_s)``, to be iterated over before the next one is asked for.

        Args:
            start_s: seconds from the file's first frame.
            end_s: seconds; None: the file's end.

        Raises:
            VideoError: the file cannot be opened, or its beginning cannot be decoded.
        """
        is_behind = self._container is not None and start_s < self._decoded_until_s
        if self._container is None or is_behind:
            self.close()
            self._container = self._exit_stack.enter_context(open_video(self.path, hwaccel=self.hwaccel))
            self.stream = video_stream(self._container)
            self._frames = decode_frames(self._container, self.stream)
            self.next_frame: VideoFrame | None = first_frame(self._frames)  # None: the file has ended
            self.first_s = frame_time(self.next_frame)  # of the file, by its own clock
            self._decoded_until_s = Fraction(0)
        position_s = start_s if self.next_frame is None else frame_time(self.next_frame) - self.first_s
        # Without display times, reordered frames would take other ones after a seek.
        is_seekable = has_display_times(self._container) or not self.stream.codec_context.has_b_frames
        if self.seeks and is_seekable and start_s - position_s > _SEEK_BEYOND_S:
            self._seek(self._container, start_s)
        return Segment(self, start_s, end_s)

    def advance(self) -> None:
        """Decode one more frame into ``next_frame``."""
        self.next_frame = next(self._frames, None)

    def finish_segment(self, end_s: Fraction) -> None:
        """Record that all frames before ``end_s`` are decoded."""
        self._decoded_until_s = end_s

    @property
    def audio(self) -> AudioStream | None:
        """The first audio stream of the open file, if it has one."""
        streams = self._container.streams.audio if self._container is not None else ()
        return streams[0] if streams else None

    def _seek(self, container: InputContainer, start_s: Fraction) -> None:
        tick = self.stream.time_base or Fraction(1)
        container.seek(int((self.first_s + start_s) / tick), stream=self.stream)
        self._frames = decode_frames(container, self.stream)
        self.next_frame = first_frame(self._frames)
        if frame_time(self.next_frame) - self.first_s > start_s:
            raise VideoError("has no key frame before the segment after a seek")


class Segment:
    """An iterable of the frames of ``[start_s, end_s)``, in seconds from the file's first frame.

    After the iteration ``source_ended``, ``decoded_end_s``, ``shown_until_s`` and ``next_pts`` are set.
    """

    def __init__(self, reader: SegmentReader, start_s: Fraction, end_s: Fraction | None) -> None:
        self.reader, self.stream, self.first_s = reader, reader.stream, reader.first_s
        self.start_s, self.end_s = start_s, end_s
        self.source_ended = False
        self.decoded_end_s = Fraction(0)  # until when the last decoded frame is displayed
        self.shown_until_s = Fraction(0)  # until when the last frame of the segment is displayed
        self.next_pts: int | None = None  # of the first frame after the segment

    def __iter__(self) -> Iterator[VideoFrame]:
        while (frame := self.reader.next_frame) is not None:
            time_s = frame_time(frame) - self.first_s
            self.decoded_end_s = self.shown_until_s = time_s + frame_duration(frame, self.stream)
            if self.end_s is not None and time_s >= self.end_s:
                self.next_pts, self.shown_until_s = frame.pts, time_s
                self.reader.finish_segment(self.end_s)
                return
            if time_s >= self.start_s:
                yield frame
            self.reader.advance()
        self.source_ended = True
        self.reader.close()


def decode_segment(
    source: Path, on_frame: FrameCallback, *, start_s: Fraction = Fraction(0), end_s: Fraction | None = None
) -> Timeline:
    """Decode exactly the frames whose time lies in ``[start_s, end_s)``, in the format of a clip.

    Args:
        source: the file.
        on_frame: called with each frame; where a seek fails, again from the first one.
        start_s: seconds from the file's first frame.
        end_s: seconds; None: the file's end.

    Returns:
        When the frames are displayed, in seconds from the file's first frame.

    Raises:
        VideoError: a frame of the segment, or one that it depends on, cannot be decoded; time stamps do not
            rise; no frame lies in the segment.
    """
    try:
        return _decode_segment(source, on_frame, start_s, end_s, seeks=True)
    except VideoError:
        if start_s <= 0:
            raise
        return _decode_segment(source, on_frame, start_s, end_s, seeks=False)


def _decode_segment(
    source: Path, on_frame: FrameCallback, start_s: Fraction, end_s: Fraction | None, *, seeks: bool
) -> Timeline:
    with SegmentReader(source, seeks=seeks) as reader:
        to_clip_format: ClipFormatFilter | None = None
        segment = reader.segment(start_s, end_s)
        times: list[Fraction] = []
        for frame in segment:
            if to_clip_format is None:
                to_clip_format = ClipFormatFilter(frame)
            time_s = frame_time(frame) - segment.first_s
            if times and time_s <= times[-1]:
                raise VideoError(f"has time stamps that do not rise{after_text(time_s)}")
            times.append(time_s)
            on_frame(to_clip_format(frame), time_s - times[0])
        if not times:
            raise VideoError("shows no frame in the segment", "empty segment")
        return Timeline(tuple(times), segment.shown_until_s, segment.source_ended)
