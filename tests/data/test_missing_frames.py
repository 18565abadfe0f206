"""Frames that are missing, or of another source or segment, are decoded; others are kept."""

from __future__ import annotations

import dataclasses
import os
from collections import namedtuple
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import make_clip, write_clip
from raw_videos import RATES, write_raw

from asl.codecs.decoder import decode_file
from asl.codecs.encode import encode_segment
from asl.codecs.encoder import x264
from asl.codecs.frame_collector import FrameCollector, FramesRequest
from asl.codecs.segments import decode_segment
from asl.contract import frame_store
from asl.contract.frame_store import (
    FrameSpec,
    FrameStoreError,
    frames_path,
    open_frames,
    origin,
    write_frames,
)
from asl.contract.manifest import Clip
from asl.data.clip_files import ClipError
from asl.data.frames import missing as missing_frames
from asl.data.frames.missing import MissingFrames, find_missing, make_frames, make_missing
from asl.errors import UserError

SPEC = FrameSpec(short_side=32)
GREY = list(range(20, 140, 10))


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    made = dataclasses.replace(make_clip("train", 0, 0), source="folder/raw.mkv", start_s=2.0, end_s=2.48)
    write_clip(tmp_path / made.path, grey=GREY)
    return made


def missing(folder: Path, *clips: Clip, spec: FrameSpec = SPEC) -> list[MissingFrames]:
    files = [folder / clip.path for clip in clips]
    return find_missing(clips, files, folder=folder / "frames", spec=spec)


def make(folder: Path, *clips: Clip, spec: FrameSpec = SPEC) -> None:
    make_missing(missing(folder, *clips, spec=spec), folder=folder / "frames", timeout_s=60)


def store(
    folder: Path, clip: Clip, *, count: int = 12, source: str = "raw.mkv", **span: float | None
) -> None:
    """Store frames as preprocessing does."""
    raw = folder / source
    raw.write_bytes(b"raw")
    segment = {"start_s": 2.0, "end_s": 2.48, **span}
    made_from = origin(SPEC, raw, float(segment["start_s"] or 0), segment["end_s"])
    raw.unlink()
    frames = np.zeros((count, 32, 43, 3), np.uint8)
    write_frames(
        frames_path(folder / "frames", SPEC, clip.video_id), frames, np.arange(count) / 25, made_from
    )


def test_missing_frames_are_decoded_once(
    tmp_path: Path, clip: Clip, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [one.clip for one in missing(tmp_path, clip)] == [clip]
    make(tmp_path, clip)
    assert "frames of 1 clips" in capsys.readouterr().out
    frames, times_s, _ = open_frames(frames_path(tmp_path / "frames", SPEC, clip.video_id))
    assert frames.shape == (12, 32, 43, 3)
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx(GREY, abs=3)
    assert times_s == pytest.approx(np.arange(12) / 25)
    assert missing(tmp_path, clip) == []
    make(tmp_path, clip)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("end_s", [2.48, 2.5, None], ids=["end", "past the end", "to the end"])
def test_frames_of_the_right_segment_are_used_after_the_raw_file_was_deleted(
    tmp_path: Path, clip: Clip, end_s: float | None
) -> None:
    store(tmp_path, clip, end_s=end_s)
    assert missing(tmp_path, clip) == []


@pytest.mark.parametrize(
    "other", [{"source": "other.mkv"}, {"start_s": 2.04}, {"end_s": 2.44}, {"count": 11}], ids=str
)
def test_frames_of_another_source_or_segment_are_missing(
    tmp_path: Path, clip: Clip, other: dict[str, object]
) -> None:
    store(tmp_path, clip, **other)  # type: ignore[arg-type]
    assert [one.clip for one in missing(tmp_path, clip)] == [clip]


def test_a_clip_that_was_cut_again_needs_new_frames(tmp_path: Path, clip: Clip) -> None:
    make(tmp_path, clip)
    os.utime(tmp_path / clip.path, ns=(1, 1))
    assert len(missing(tmp_path, clip)) == 1


def test_frames_of_other_settings_or_versions_and_incomplete_files_are_missing(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, clip)
    assert len(missing(tmp_path, clip, spec=FrameSpec(short_side=24))) == 1
    assert len(missing(tmp_path, clip, spec=FrameSpec(fps=None, short_side=32))) == 1
    with monkeypatch.context() as patch:
        patch.setattr(missing_frames, "VERSION", frame_store.VERSION + 1)
        assert len(missing(tmp_path, clip)) == 1
    path = frames_path(tmp_path / "frames", SPEC, clip.video_id)
    path.write_bytes(path.read_bytes()[:-1])
    assert len(missing(tmp_path, clip)) == 1


def test_frames_around_another_box_are_missing(tmp_path: Path, clip: Clip) -> None:
    spec = FrameSpec(short_side=32, crop="signer")
    boxed = dataclasses.replace(clip, box="0.1 0.2 0.4 0.6")
    make(tmp_path, boxed, spec=spec)
    assert missing(tmp_path, boxed, spec=spec) == []
    for other in ("", "0.2 0.2 0.5 0.6"):
        assert len(missing(tmp_path, dataclasses.replace(clip, box=other), spec=spec)) == 1
    assert len(missing(tmp_path, boxed)) == 1


@pytest.mark.parametrize("short_side", [48, 36, 18], ids=lambda side: f"{side * 4 // 3} wide")
def test_frames_have_the_size_of_the_spec(tmp_path: Path, clip: Clip, short_side: int) -> None:
    spec = FrameSpec(short_side=short_side)
    make(tmp_path, clip, spec=spec)
    frames, *_ = open_frames(frames_path(tmp_path / "frames", spec, clip.video_id))
    assert frames.shape == (12, *spec.size(64, 48), 3)
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx(GREY, abs=3)


@pytest.mark.parametrize("fps", [25.0, 12.5, 30.0, None])
@pytest.mark.parametrize("rate", RATES)
def test_frames_equal_those_of_preprocessing_byte_for_byte(
    tmp_path: Path, rate: str, fps: float | None
) -> None:
    """Preprocessing collects frames of a segment of a source: here of the whole clip."""
    spec = FrameSpec(fps=fps, short_side=36)
    raw = write_raw(tmp_path / "raw.mkv", fps=RATES[rate], duration_s=1.4)
    made = make_clip("train", 0, 0)
    file = tmp_path / made.path
    file.parent.mkdir(parents=True)
    encode_segment(raw, file, start_s=Fraction(1, 5), encoder=x264(crf=20, preset="ultrafast"))
    decoded = decode_file(file)
    num_frames, duration_s = len(decoded.timeline.times), float(decoded.timeline.duration)
    clip = dataclasses.replace(
        made,
        num_frames=num_frames,
        duration_s=round(duration_s, 6),
        width=decoded.info.width,
        height=decoded.info.height,
    )
    make(tmp_path, clip, spec=spec)
    collector = FrameCollector(spec)
    decode_segment(file, collector.add)
    request = FramesRequest(tmp_path / "expected.safetensors", spec, origin(spec, file, 0.0, None))
    collector.write(request, duration_s=duration_s, num_frames=num_frames)
    path = frames_path(tmp_path / "frames", spec, clip.video_id)
    assert path.read_bytes() == request.path.read_bytes()
    assert missing(tmp_path, clip, spec=spec) == []


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"grey": GREY[:-1]}, "it has 11 frames, the manifest says 12"),
        ({"size": (48, 64)}, "it has 48x64 pixels, the manifest says 64x48"),
    ],
    ids=["frames", "size"],
)
def test_a_clip_that_does_not_fit_its_row_is_an_error(
    tmp_path: Path, clip: Clip, other: dict[str, Any], reason: str
) -> None:
    write_clip(tmp_path / clip.path, **{"grey": GREY, **other})
    with pytest.raises(ClipError, match=reason):
        make(tmp_path, clip)
    assert not list((tmp_path / "frames").rglob("*.safetensors"))


def test_the_error_names_a_clip_that_cannot_be_read(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / clip.path).write_bytes(b"damaged")
    with pytest.raises(ClipError) as caught:
        make(tmp_path, clip)
    message = str(caught.value)
    assert message.startswith(f"clip {clip.video_id} ('book', train) cannot be read: ")
    assert clip.path in message
    assert "python preprocess.py" in message
    assert "Traceback" not in message


def hang(one: MissingFrames) -> None:
    import time

    time.sleep(60)


def test_the_error_names_a_clip_that_hangs_the_decoder(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missing_frames, "make_frames", hang)
    with pytest.raises(ClipError, match=rf"clip {clip.video_id} .*took longer than 2 s"):
        make_missing(missing(tmp_path, clip), folder=tmp_path / "frames", timeout_s=2)


def test_a_full_disk_is_an_error_before_any_clip_is_decoded(
    tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(frame_store.shutil, "disk_usage", lambda _: usage(10, 10, 1000))
    with pytest.raises(FrameStoreError, match="reader=decord"):
        make(tmp_path, clip)


def test_a_folder_that_cannot_be_written_to_is_not_a_clip_error(tmp_path: Path, clip: Clip) -> None:
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / SPEC.name).write_text("a file where the folder should be")
    with pytest.raises(UserError, match=r"paths\.frames_dir") as caught:
        make(tmp_path, clip)
    assert not isinstance(caught.value, ClipError)


def test_decoding_does_not_import_torch_decord_or_preprocessing(tmp_path: Path, clip: Clip) -> None:
    import subprocess
    import sys

    code = (
        "import sys, asl.data.frames.missing; loaded = {m.split('.')[0] for m in sys.modules}; "
        "sys.exit(bool(loaded & {'torch', 'decord'}) or 'asl.preprocess' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    make_frames(missing(tmp_path, clip)[0])
    assert missing(tmp_path, clip) == []
