"""Predictions of video files: those of evaluation, alone and among others, and failures."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import write_clip
from raw_videos import write_raw

import asl
from asl.config.setting import ConfigError
from asl.contract.frame_store import FrameSettings
from asl.contract.manifest import Clip, read_manifest
from asl.data.readers.frames import FramesReaderSettings
from asl.evaluation.inference import UNCHANGED, predict_clips
from asl.inference.prediction import Failure, Prediction, VideoFileError, rank_glosses
from asl.inference.predictor import Predictor
from asl.inference.recogniser import Recogniser
from asl.training.checkpoints import read_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> Predictor:
    return asl.load(checkpoint, accelerator="cpu")


@pytest.fixture(scope="module")
def clips(tiny_data: Path) -> list[Clip]:
    manifest = read_manifest(tiny_data / "metadata" / "tiny_manifest.csv")
    return [clip for clip in manifest if clip.split == "test"]


def test_a_clip_has_the_prediction_of_evaluation_bit_for_bit(
    predictor: Predictor, tiny_data: Path, clips: list[Clip]
) -> None:
    reader = FramesReaderSettings().build(FrameSettings(), tiny_data / "frames")
    expected = predict_clips(predictor.recogniser, clips, data_dir=tiny_data, reader=reader, batch_size=5)
    for clip, row in zip(clips, expected[UNCHANGED], strict=True):
        frames = predictor.frames(tiny_data / clip.path)
        assert (predictor.probabilities(frames[None])[0] == row).all()
        found = predictor.predict(tiny_data / clip.path, top=3)
        assert found.top == rank_glosses(row, predictor.glosses, 3)
        assert (found.start_s, found.end_s) == (0, clip.duration_s)
    assert np.ptp(expected[UNCHANGED], axis=0).max() > 0.01  # the clips differ


def test_a_clip_has_the_same_bits_alone_and_among_others(checkpoint: Path) -> None:
    recogniser = Recogniser(read_checkpoint(checkpoint), device=torch.device("cpu"))
    torch.manual_seed(0)
    videos = torch.randint(0, 256, (11, 4, 20, 30, 3), dtype=torch.uint8)
    together = recogniser.probabilities(videos)
    assert together.shape == (11, 3)
    for size in (1, 2, 3, 7):
        for first in range(11 - size):
            alone = recogniser.probabilities(videos[first : first + size])
            assert torch.equal(alone, together[first : first + size])


def test_window_and_frames_are_those_of_the_training_or_of_an_early_checkpoint(checkpoint: Path) -> None:
    content = read_checkpoint(checkpoint)
    recogniser = Recogniser(content, device=torch.device("cpu"))
    assert recogniser.window_s == pytest.approx(12 / 25)  # the clips have 12 frames
    for name in ("median_duration_s", "settings"):
        del content["asl"][name]
    assert recogniser.window_s == pytest.approx(4 * 2 / 25)  # clip_len x frame_stride
    assert (recogniser.frames.fps, recogniser.frames.short_side) == (25, 128)
    content["asl"] |= {"settings": {"frames": {"fps": 25.0, "short_side": 16}}}
    assert recogniser.frames.short_side == 20  # of reader=decord: never enlarged
    content["asl"]["sampling"] |= {"fps": None}
    assert recogniser.frames.fps is None


@pytest.mark.gpu
def test_a_clip_has_the_same_bits_alone_and_among_others_on_a_gpu(checkpoint: Path) -> None:
    recogniser = Recogniser(read_checkpoint(checkpoint), device=torch.device("cuda"))
    videos = torch.randint(0, 256, (11, 4, 20, 30, 3), dtype=torch.uint8)
    together = recogniser.probabilities(videos)
    for size in (1, 2, 3, 7):
        assert torch.equal(recogniser.probabilities(videos[:size]), together[:size])


def test_the_segment_of_a_raw_video_has_the_prediction_of_its_clip(
    predictor: Predictor, tmp_path: Path
) -> None:
    grey = list(range(20, 220, 5))
    whole = tmp_path / "whole.mp4"
    write_clip(whole, grey=grey, fps=25)
    found = predictor.frames(whole, start_s=0.4, end_s=1.2)
    assert found.shape == (4, 20, 30, 3)
    shown = predictor.predict(whole, start_s=0.4, end_s=1.2)
    assert (shown.start_s, shown.end_s) == pytest.approx((0.4, 1.2))
    # 20 grid points from frame 10 on; the window of 7 is shorter, so frames are the middles of quarters
    assert found.mean(axis=(1, 2, 3)) == pytest.approx([grey[10 + i] for i in (2, 7, 12, 17)], abs=2)


@pytest.mark.parametrize(
    ("suffix", "form"),
    [
        (".mp4", {"rotation": 90}),
        (".mkv", {"size": (143, 107), "pix_fmt": "yuv444p"}),
        (".mkv", {"fps": None}),
        (".webm", {"codec": "libvpx-vp9", "fps": Fraction(30000, 1001)}),
    ],
    ids=["rotated", "odd size", "variable rate", "vp9"],
)
def test_raw_videos_of_all_kinds_give_the_frames_of_a_plain_one(
    predictor: Predictor, tmp_path: Path, suffix: str, form: dict[str, Any]
) -> None:
    plain = write_raw(tmp_path / "plain.mp4", duration_s=1.0)
    other = write_raw(tmp_path / f"other{suffix}", duration_s=1.0, **form)
    assert predictor.predict(other).end_s == pytest.approx(1.0, abs=0.05)
    difference = predictor.frames(other).astype(float) - predictor.frames(plain)
    assert np.abs(difference[:, 4:]).mean() < 4  # without the frame number above, which differs


def test_a_bad_file_costs_only_itself(
    predictor: Predictor, tiny_data: Path, clips: list[Clip], tmp_path: Path
) -> None:
    bad, missing = tmp_path / "bad.mp4", tmp_path / "missing.mp4"
    bad.write_bytes(b"no video" * 100)
    good = [tiny_data / clip.path for clip in clips]
    found = list(predictor.predict_many([good[0], bad, *good[1:], missing, good[0]], top=3, workers=2))
    failures = [one for one in found if isinstance(one, Failure)]
    assert [one.file for one in failures] == [bad, missing]
    assert failures[0].message.startswith(f"{bad} cannot be read: Invalid data")
    assert failures[1].message == f"{missing} does not exist"
    predictions = [one for one in found if isinstance(one, Prediction)]
    assert predictions == [predictor.predict(path, top=3) for path in [*good, good[0]]]  # in order, same bits


def test_a_video_that_takes_too_long_is_a_failure(predictor: Predictor, tmp_path: Path) -> None:
    path = write_raw(tmp_path / "long.mp4", duration_s=20.0)
    [found] = predictor.predict_many([path], timeout_s=0.01)
    assert found == Failure(path, f"{path} took longer than 0.01 s")


def test_a_notebook_does_without_hydra(checkpoint: Path, tiny_data: Path, clips: list[Clip]) -> None:
    files = [str(checkpoint), str(tiny_data / clips[0].path)]
    code = (
        "import sys, asl; print(asl.load(sys.argv[1]).predict(sys.argv[2]).gloss);"
        "assert 'hydra' not in sys.modules"
    )
    ended = subprocess.run([sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True)
    assert ended.stdout.strip() in {"book", "drink", "go"}, ended.stderr
    assert ended.returncode == 0, ended.stderr


def test_a_device_that_is_none_is_an_error_that_lists_them(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match=r"accelerator=cuda: must be one of auto, cpu, gpu"):
        asl.load(checkpoint, accelerator="cuda")


def test_no_videos_are_no_predictions(predictor: Predictor) -> None:
    assert list(predictor.predict_many([])) == []


def test_errors_name_the_file_and_the_reason(
    predictor: Predictor, tiny_data: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny_data / clips[0].path
    for options, message in (
        ({"start_s": 5.0}, "shows no frame in the segment"),
        ({"start_s": 0.3, "end_s": 0.3}, "shows no frame in the segment"),
    ):
        with pytest.raises(VideoFileError, match=message) as error:
            predictor.predict(path, **options)
        assert str(path) in str(error.value)
    monkeypatch.setattr("asl.inference.clip_frames.LONGEST_S", 0.2)
    with pytest.raises(VideoFileError, match=r"has more than 0\.2 s"):
        predictor.predict(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"top": 0}, "top=0: must be at least 1"),
        ({"start_s": -1.0}, r"start_s=-1\.0: must be at least 0"),
    ],
)
def test_impossible_arguments_are_errors(
    predictor: Predictor, tiny_data: Path, clips: list[Clip], arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        predictor.predict(tiny_data / clips[0].path, **arguments)


def test_a_prediction_is_readable_in_a_notebook() -> None:
    found = Prediction(Path("clip.mp4"), 0.0, 1.4, (("book", 0.9), ("go", 0.06)))
    assert repr(found) == "clip.mp4, 0.00 to 1.40 s\n  book   90.0%\n  go      6.0%"
    assert (found.gloss, found.probability) == ("book", 0.9)
