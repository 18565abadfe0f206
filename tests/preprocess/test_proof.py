"""When a decoded file is the clip that was meant, and what its proof says."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cut import make_cut

from asl.codecs.decoder import DecodedFile
from asl.codecs.probe import VideoInfo
from asl.codecs.timeline import Timeline
from asl.codecs.video_file import VideoError
from asl.preprocess.clips.fingerprint import to_text
from asl.preprocess.clips.proof import Proof, file_digest, proof_of

MS = Fraction(1, 1000)
PLAIN = VideoInfo("h264", "yuv420p", 64, 48, (), 25.0, 0.2, False)
THUMBNAILS = np.random.default_rng(0).integers(0, 256, (8, 16, 16), dtype=np.uint8)


def shown(start_s: Fraction = Fraction(0), *, frames: int = 5, moved_s: Fraction = Fraction(0)) -> Timeline:
    """Frames at 25 a second. The third one is ``moved_s`` late."""
    times = [start_s + Fraction(number, 25) for number in range(frames)]
    times[2] += moved_s
    return Timeline(tuple(times), start_s + Fraction(frames, 25))


def prove_decoded(
    folder: Path,
    timeline: Timeline,
    expected: Timeline,
    *,
    info: VideoInfo = PLAIN,
    copied: bool = False,
    **segment: Any,
) -> Proof:
    path = folder / "part.mp4"
    path.write_bytes(b"the clip")
    cut = make_cut(folder / "a.mp4", folder / "videos" / "train" / "book" / "7.mp4", **segment)
    pictures = tuple(np.zeros((12, 16, 3), np.uint8) for _ in range(3))
    return proof_of(DecodedFile(timeline, info, THUMBNAILS, pictures), path, cut, expected, copied=copied)


def test_the_proof_says_what_was_decoded(tmp_path: Path) -> None:
    segment = {"start_s": Fraction(1, 2), "end_s": Fraction(7, 10)}
    proof = prove_decoded(tmp_path, shown(), shown(Fraction(1, 2)), **segment)
    assert proof == Proof(
        **{"num_frames": 5, "fps": 25.0, "duration_s": 0.2, "width": 64, "height": 48, "start_s": 0.5},
        **{"end_s": 0.7, "copied": False, "size": 8, "digest": file_digest(tmp_path / "part.mp4")},
        **{"fingerprint": to_text(THUMBNAILS), "bitstream": ""},
    )
    assert (tmp_path / "videos" / "strips" / "7.jpg").is_file()


@pytest.mark.parametrize(
    ("end_s", "expected"), [(None, 0.7), (Fraction(9, 10), 0.7), (Fraction(69, 100), 0.69)]
)
def test_a_clip_ends_with_its_segment_or_its_source(
    tmp_path: Path, end_s: Fraction | None, expected: float
) -> None:
    proof = prove_decoded(tmp_path, shown(), shown(Fraction(1, 2)), start_s=Fraction(1, 2), end_s=end_s)
    assert proof.end_s == expected


@pytest.mark.parametrize("moved_s", [MS, -MS])
def test_a_frame_may_be_a_millisecond_away_from_its_time(tmp_path: Path, moved_s: Fraction) -> None:
    assert prove_decoded(tmp_path, shown(moved_s=moved_s), shown(Fraction(3))).num_frames == 5
    with pytest.raises(VideoError, match=r"its frames up to 0\.002 s away from their time") as raised:
        prove_decoded(tmp_path, shown(moved_s=2 * moved_s), shown(Fraction(3)))
    assert raised.value.reason == "not proven"


@pytest.mark.parametrize(
    ("copied", "off_s", "is_proven"),
    [
        (False, MS, True),
        (False, -MS, True),
        (False, 2 * MS, False),
        (False, -2 * MS, False),
        (True, Fraction(1, 25), True),  # a container may guess how long the last frame is shown
        (True, Fraction(-1, 25), True),
        (True, Fraction(1, 25) + MS, False),
    ],
)
def test_the_end_is_exact_in_encoded_clips_and_within_a_frame_in_copied_ones(
    tmp_path: Path, copied: bool, off_s: Fraction, is_proven: bool
) -> None:
    expected = shown(Fraction(1))
    timeline = Timeline(shown().times, Fraction(1, 5) + off_s)
    if is_proven:
        assert prove_decoded(tmp_path, timeline, expected, copied=copied).copied == copied
    else:
        with pytest.raises(VideoError, match=rf"a clip of {float(timeline.end):.3f} s instead of 0\.200 s"):
            prove_decoded(tmp_path, timeline, expected, copied=copied)


@pytest.mark.parametrize("copied", [False, True])
def test_a_clip_of_one_frame_is_proven(tmp_path: Path, copied: bool) -> None:
    still = Timeline((Fraction(0),), Fraction(1, 25))
    assert prove_decoded(tmp_path, still, still, copied=copied).fps == 25.0


@pytest.mark.parametrize("frames", [4, 6])
def test_another_number_of_frames_is_not_the_clip(tmp_path: Path, frames: int) -> None:
    with pytest.raises(VideoError, match=f"gave {frames} frames instead of 5"):
        prove_decoded(tmp_path, shown(frames=frames), shown())


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (
            VideoInfo("vp9", "yuv420p", 64, 48, (), 25.0, 0.2, False),
            "gave vp9 yuv420p 64x48, turned by nothing",
        ),
        (VideoInfo("h264", "nv12", 64, 48, (), 25.0, 0.2, False), "gave h264 nv12 64x48, turned by nothing"),
        (VideoInfo("h264", "yuv420p", 63, 48, (), 25.0, 0.2, False), "gave h264 yuv420p 63x48"),
        (VideoInfo("h264", "yuv420p", 64, 48, ("hflip",), 25.0, 0.2, False), r"turned by \('hflip',\)"),
    ],
)
def test_another_format_is_not_the_clip(tmp_path: Path, info: VideoInfo, message: str) -> None:
    with pytest.raises(VideoError, match=message):
        prove_decoded(tmp_path, shown(), shown(), info=info)
    assert not (tmp_path / "videos" / "strips").exists()


def test_the_digest_is_blake2b_with_160_bits(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_digest(tmp_path / "a") == hashlib.blake2b(b"abc", digest_size=20).hexdigest()
