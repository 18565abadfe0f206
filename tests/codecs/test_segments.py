"""Which frames of a file are decoded for segments, with a file that counts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from clips import write_clip

from asl.codecs import segments
from asl.codecs.segments import SegmentReader, decode_segment
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError

TICK_S = Fraction(1, 100)
FIRST_PTS = 7  # the file's clock does not begin at 0
STREAM = SimpleNamespace(time_base=TICK_S, codec_context=SimpleNamespace(has_b_frames=0))


@dataclass
class File:
    """A file of 20 s with 10 frames a second; it notes what is done with it."""

    key_frames: tuple[int, ...] = (0, 100)  # their numbers
    seeks_wrong_by: int = 0  # frames by which a seek goes too far
    position: int = 0
    decoded: list[int] = field(default_factory=list)
    opened: int = 0
    sought: int = 0
    closed: int = 0
    format: Any = field(default_factory=lambda: SimpleNamespace(name="mp4"))
    streams: Any = field(default_factory=lambda: SimpleNamespace(audio=("first", "second")))

    def seek(self, pts: int, *, stream: object) -> None:
        assert stream is STREAM
        self.sought += 1
        number = (pts - FIRST_PTS) // 10
        self.position = max(key for key in self.key_frames if key <= number) + self.seeks_wrong_by


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> File:
    video = File()

    @contextmanager
    def open_video(path: Path, *, hwaccel: str | None) -> Iterator[File]:
        assert (path, hwaccel) == (Path("a.mp4"), None)
        video.opened, video.position = video.opened + 1, 0
        yield video
        video.closed += 1

    def decode_frames(container: File, _stream: object) -> Iterator[Any]:
        for number in range(container.position, 200):
            container.decoded.append(number)
            yield SimpleNamespace(pts=FIRST_PTS + 10 * number, time_base=TICK_S, duration=10, number=number)

    monkeypatch.setattr(segments, "open_video", open_video)
    monkeypatch.setattr(segments, "video_stream", lambda _: STREAM)
    monkeypatch.setattr(segments, "decode_frames", decode_frames)
    monkeypatch.setattr(segments, "ClipFormatFilter", lambda _: lambda frame: frame.number)
    return video


def numbers(reader: SegmentReader, start: int, end: int | None) -> list[int]:
    """Numbers of the frames of a segment given in tenths of seconds."""
    return [frame.number for frame in read(reader, start, end)[1]]


def read(reader: SegmentReader, start: int, end: int | None) -> tuple[segments.Segment, list[Any]]:
    segment = reader.segment(Fraction(start, 10), None if end is None else Fraction(end, 10))
    return segment, list(segment)


def test_segments_in_rising_order_are_decoded_in_one_go(file: File) -> None:
    with SegmentReader(Path("a.mp4")) as reader:
        assert numbers(reader, 0, 3) == [0, 1, 2]
        assert numbers(reader, 3, 4) == [3]
        assert numbers(reader, 6, 8) == [6, 7]
        assert file.decoded == list(range(9))
    assert (file.opened, file.sought, file.closed) == (1, 0, 1)


def test_a_segment_that_begins_before_the_last_one_ended_is_read_from_the_beginning(file: File) -> None:
    with SegmentReader(Path("a.mp4")) as reader:
        assert numbers(reader, 2, 5) == [2, 3, 4]
        assert numbers(reader, 4, 6) == [4, 5]
        assert (file.opened, file.closed) == (2, 1)
        assert numbers(reader, 6, 7) == [6]
    assert (file.opened, file.closed) == (2, 2)


@pytest.mark.parametrize(("start", "seeks"), [(40, 0), (41, 1)])
def test_a_segment_more_than_four_seconds_ahead_is_reached_by_a_seek(
    file: File, start: int, seeks: int
) -> None:
    with SegmentReader(Path("a.mp4")) as reader:
        assert numbers(reader, start, start + 2) == [start, start + 1]
        assert file.sought == seeks
        assert numbers(reader, start + 2, start + 3) == [start + 2]
        assert file.sought == seeks


def test_a_seek_goes_to_the_key_frame_before_the_segment(file: File) -> None:
    with SegmentReader(Path("a.mp4")) as reader:
        assert numbers(reader, 0, 1) == [0]
        assert numbers(reader, 102, 104) == [102, 103]
        assert file.decoded == [0, 1, *range(100, 105)]
        assert numbers(reader, 100, 101) == [100]  # behind: from the beginning, and there by a seek
    assert (file.opened, file.sought) == (2, 2)


@pytest.mark.parametrize(
    ("format_name", "has_b_frames", "seeks"), [("mp4", 2, 1), ("avi", 0, 1), ("avi", 2, 0)]
)
def test_a_file_with_reordered_frames_and_no_display_times_is_not_sought_in(
    file: File, monkeypatch: pytest.MonkeyPatch, format_name: str, has_b_frames: int, seeks: int
) -> None:
    file.format.name = format_name
    monkeypatch.setattr(STREAM.codec_context, "has_b_frames", has_b_frames)
    with SegmentReader(Path("a.mp4")) as reader:
        assert numbers(reader, 102, 104) == [102, 103]
    assert file.sought == seeks


def test_without_seeks_every_frame_is_decoded(file: File) -> None:
    with SegmentReader(Path("a.mp4"), seeks=False) as reader:
        assert numbers(reader, 150, 151) == [150]
    assert file.decoded == list(range(152))


def test_a_seek_that_goes_too_far_is_an_error_and_a_single_segment_is_then_read_without(file: File) -> None:
    file.seeks_wrong_by = 3
    with SegmentReader(Path("a.mp4")) as reader:
        with pytest.raises(VideoError, match="no key frame before the segment after a seek"):
            numbers(reader, 102, 104)
        assert numbers(reader, 103, 104) == [103]  # exactly at the frame that the seek led to
    seen: list[tuple[int, Fraction]] = []
    decode_segment(
        Path("a.mp4"),
        lambda frame, time_s: seen.append((frame, time_s)),  # type: ignore[arg-type]
        start_s=Fraction(102, 10),
        end_s=Fraction(104, 10),
    )
    assert seen == [(102, Fraction(0)), (103, Fraction(1, 10))]


@pytest.mark.parametrize(
    ("start", "end", "ended", "decoded_end", "next_number"),
    [
        (2, 4, False, 5, 4),
        (198, None, True, 200, None),
        (198, 205, True, 200, None),
        (0, 200, True, 200, None),
    ],
)
def test_a_segment_says_where_it_ended(
    file: File, start: int, end: int | None, ended: bool, decoded_end: int, next_number: int | None
) -> None:
    with SegmentReader(Path("a.mp4")) as reader:
        segment, frames = read(reader, start, end)
        assert len(frames) == min(end or 200, 200) - start
        assert (segment.source_ended, segment.decoded_end_s) == (ended, Fraction(decoded_end, 10))
        assert segment.next_pts == (None if next_number is None else FIRST_PTS + 10 * next_number)
        assert file.closed == ended  # at its end, the file is closed; the next segment opens it again
        assert numbers(reader, 199, 200) == [199]
        assert file.opened == 1 + ended


def test_a_single_segment_is_reached_by_a_seek_and_its_times_begin_at_its_first_frame(file: File) -> None:
    seen: list[Fraction] = []
    decode_segment(
        Path("a.mp4"), lambda _, time_s: seen.append(time_s), start_s=Fraction(15), end_s=Fraction(151, 10)
    )
    decode_segment(Path("a.mp4"), lambda _, time_s: seen.append(time_s), start_s=Fraction(1975, 100))
    assert seen == [Fraction(0), Fraction(0), Fraction(1, 10)]
    assert (file.opened, file.sought, file.decoded[:2]) == (2, 2, [0, 100])
    seen.clear()
    decode_segment(Path("a.mp4"), lambda _, time_s: seen.append(time_s), end_s=Fraction(2, 10))
    assert seen == [Fraction(0), Fraction(1, 10)]


def test_a_segment_without_a_frame_is_an_error(file: File) -> None:
    for start_s, end_s in ((Fraction(11, 100), Fraction(19, 100)), (Fraction(20), None)):
        with pytest.raises(VideoError, match="shows no frame in the segment") as raised:
            decode_segment(Path("a.mp4"), print, start_s=start_s, end_s=end_s)
        assert raised.value.reason == "empty segment"


@pytest.mark.parametrize(("start", "attempts"), [(0, 1), (1, 2)])
def test_what_cannot_be_decoded_is_tried_again_without_seeks_unless_it_is_the_beginning(
    file: File, monkeypatch: pytest.MonkeyPatch, start: int, attempts: int
) -> None:
    def damaged(container: File, _stream: object) -> Iterator[Any]:
        yield from ()

    monkeypatch.setattr(segments, "decode_frames", damaged)
    with pytest.raises(VideoError, match="holds no frame"):
        decode_segment(Path("a.mp4"), print, start_s=Fraction(start))
    assert file.opened == attempts


def test_the_first_audio_stream_is_that_of_the_open_file(file: File) -> None:
    with SegmentReader(Path("a.mp4")) as reader:
        assert reader.audio is None
        numbers(reader, 0, 1)
        assert reader.audio == "first"
        file.streams = SimpleNamespace(audio=())
        assert reader.audio is None


def test_a_decoded_segment_ends_where_the_next_frame_begins(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", grey=range(25), fps=25)
    shown: list[Fraction] = []
    inside = decode_segment(
        tmp_path / "a.mp4",
        lambda frame, time_s: shown.append(time_s),
        start_s=Fraction(1, 5),
        end_s=Fraction(2, 5),
    )
    assert inside == Timeline(
        tuple(Fraction(i, 25) for i in range(5, 10)), Fraction(10, 25), source_ended=False
    )
    assert shown == [Fraction(i, 25) for i in range(5)]
    whole = decode_segment(tmp_path / "a.mp4", lambda frame, time_s: None)
    assert whole == Timeline(tuple(Fraction(i, 25) for i in range(25)), Fraction(1), source_ended=True)
