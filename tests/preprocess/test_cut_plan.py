"""Which clips a run makes, and how long they are expected to be."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from instances import make_instance
from test_cut import make_cut

from asl.codecs.encoder import x264
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import FrameSpec
from asl.contract.paths import Paths
from asl.preprocess.clips.cut import check_end
from asl.preprocess.clips.frames import space_needed
from asl.preprocess.clips.plan import Cut, plan_cuts
from asl.preprocess.sources.matching import Match, Unmatched
from asl.preprocess.sources.raw_files import RawVideo

TARGET = Path("videos/train/book/7.mp4")
RAW = RawVideo(4.0, 64, 48, 25.0, "h264", "yuv420p", False, True)


@pytest.mark.parametrize(
    ("raw", "start_s", "end_s", "expected"),
    [
        (RAW, 0, None, (4.0, 100.0)),
        (RAW, 1, None, (3.0, 75.0)),
        (RAW, 1, 2, (1.0, 25.0)),
        (RAW, 5, None, (3.0, 75.0)),  # after the end: as long as usual
        (RawVideo(4.0, 64, 48), 0, None, (4.0, 120.0)),  # 30 frames a second, as usual
        (RawVideo(0.0, 64, 48), 0, None, (3.0, 90.0)),
        (None, 0, None, (3.0, 90.0)),
        (None, 1, 2, (1.0, 30.0)),
    ],
)
def test_length_and_frames_are_estimated_from_the_header_or_are_the_usual_ones(
    raw: RawVideo | None, start_s: int, end_s: int | None, expected: tuple[float, float]
) -> None:
    end = None if end_s is None else Fraction(end_s)
    cut = make_cut(Path("a.mp4"), TARGET, raw=raw, start_s=Fraction(start_s), end_s=end)
    assert cut.estimated_length() == expected


def test_only_a_cut_from_beginning_to_end_is_the_whole_source() -> None:
    def is_whole(**segment: Any) -> bool:
        return make_cut(Path("a.mp4"), TARGET, **segment).is_whole

    assert is_whole()
    assert not is_whole(start_s=Fraction(1, 25))
    assert not is_whole(end_s=Fraction(1))
    assert not is_whole(start_s=Fraction(1, 25), end_s=Fraction(1))


def test_a_source_that_could_not_be_opened_is_not_copied_unopened() -> None:
    assert make_cut(Path("a.mp4"), TARGET, raw=RAW).can_be_copied_unopened
    assert not make_cut(Path("a.mp4"), TARGET, raw=RawVideo(4.0, 64, 48)).can_be_copied_unopened
    assert not make_cut(Path("a.mp4"), TARGET).can_be_copied_unopened


def planned(folder: Path, **settings: Any) -> list[Cut]:
    """The cuts of three instances, the second of which has no source."""
    paths = Paths.below(folder)
    Path(paths.raw_dir).mkdir(parents=True, exist_ok=True)
    for name in ("a.mp4", "b.mp4"):
        (Path(paths.raw_dir) / name).write_bytes(b"video")
    instances = [
        make_instance("3", "http://a.example/a.mp4", 26, 50, split="test"),
        make_instance("2", "http://a.example/gone.mp4"),
        make_instance("1", "http://a.example/b.mp4"),
    ]
    matches = {
        "3": Match("a.mp4", "url_name"),
        "2": Unmatched("no file", ""),
        "1": Match("b.mp4", "url_name"),
    }
    how = {"audio": True, "frames": None, "fps": 25.0, "end_tolerance_s": None} | settings
    encoder = x264(crf=20, preset="fast")
    where = {"raw_dir": Path(paths.raw_dir), "folders": {"book": "book"}, "paths": paths}
    return plan_cuts(instances, matches, {"b.mp4": RAW}, encoder=encoder, **where, **how)


def test_each_instance_with_a_source_is_cut(tmp_path: Path) -> None:
    first, second = planned(tmp_path)
    assert (first.video_id, first.source, first.raw) == ("3", tmp_path / "raw" / "a.mp4", None)
    assert (first.start_s, first.end_s, first.audio, first.frames) == (1, 2, True, None)
    assert first.target == tmp_path / "videos" / "test" / "book" / "3.mp4"
    assert first.thumbnails == tmp_path / "metadata" / "strips" / "3.jpg"
    assert (second.video_id, second.raw, second.is_whole) == ("1", RAW, True)


def test_frames_are_stored_for_training_if_they_are_asked_for(tmp_path: Path) -> None:
    first, second = planned(tmp_path, frames=FrameSpec(short_side=32))
    assert first.frames is not None
    assert first.frames.path == tmp_path / "frames" / "25fps_32px" / "3.safetensors"
    assert (first.frames.origin.start_s, first.frames.origin.end_s) == (1.0, 2.0)
    assert second.frames is not None
    assert (second.frames.origin.start_s, second.frames.origin.end_s) == (0.0, -1.0)


def test_space_is_estimated_for_the_frames_that_are_not_stored_yet(tmp_path: Path) -> None:
    cuts = planned(tmp_path, frames=FrameSpec(short_side=32))
    assert space_needed(cuts) == (1, 100 * 32 * 43 * 3)  # the other source could not be opened
    assert space_needed(planned(tmp_path, frames=FrameSpec(fps=None, short_side=32))) == (
        1,
        100 * 32 * 43 * 3,
    )
    assert space_needed(planned(tmp_path)) == (0, 0)
    assert cuts[1].frames is not None
    cuts[1].frames.path.parent.mkdir(parents=True)
    cuts[1].frames.path.touch()
    assert space_needed(cuts) == (0, 0)


@pytest.mark.parametrize(
    ("fps", "asked", "expected"),
    [
        (25.0, None, Fraction(1, 25)),
        (29.97002997, None, Fraction(1001, 30000)),
        (23.976023976, None, Fraction(1001, 24000)),
        (25.0, 0.5, Fraction(1, 2)),
        (25.0, 0.0, Fraction(0)),
    ],
)
def test_a_segment_may_reach_past_the_end_of_its_source_by_one_frame_of_the_metadata(
    tmp_path: Path, fps: float, asked: float | None, expected: Fraction
) -> None:
    assert {cut.end_tolerance_s for cut in planned(tmp_path, fps=fps, end_tolerance_s=asked)} == {expected}


@pytest.mark.parametrize(
    ("end_s", "source_ended", "is_error"),
    [
        (Fraction(2), True, False),
        (Fraction(51, 25), True, False),  # one frame, the tolerance
        (Fraction(51, 25) + Fraction(1, 1000), True, True),
        (Fraction(3), False, False),  # the source goes on
        (None, True, False),
    ],
)
def test_what_is_further_past_the_end_is_an_error(
    end_s: Fraction | None, source_ended: bool, is_error: bool
) -> None:
    cut = make_cut(Path("a.mp4"), TARGET, end_s=end_s)
    encoded = Timeline((Fraction(0),), Fraction(2), source_ended)
    if is_error:
        with pytest.raises(VideoError, match=r"ends at 2\.000 s, but .* goes to 2\.041 s \(0\.041 s more\)"):
            check_end(cut, encoded)
    else:
        check_end(cut, encoded)
