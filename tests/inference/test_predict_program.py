"""``python predict.py``, in this process: its results, messages and exit codes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from av.video.frame import VideoFrame
from clips import write_clip
from composing import composed
from made_checkpoint import write_checkpoint

import asl
from asl.codecs.segments import decode_segment
from asl.config.setting import ConfigError
from asl.errors import UserError
from asl.inference.inputs import InputError
from asl.inference.prediction import VideoFileError
from asl.inference.run import predict


def run(checkpoint: Path, *overrides: str) -> int:
    return predict(composed("predict", f"checkpoint={checkpoint}", "accelerator=cpu", *overrides))


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 s in which the picture changes every second: two pieces."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    write_clip(path, grey=[(5, 120, 250)[i // 25 % 3] for i in range(1000)])
    return path


def test_each_video_has_its_answer_and_a_bad_one_a_line(
    checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = sorted((tiny_data / "videos" / "test" / "book").glob("*.mp4"))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    inputs = ",".join(map(str, [good[0], bad, good[1]]))
    expected = [asl.load(checkpoint, accelerator="cpu").predict(path, top=2) for path in good]

    assert run(checkpoint, f"input=[{inputs}]", "format=json", "top=2") == 1
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert [one["file"] for one in found] == [str(good[0]), str(bad), str(good[1])]
    assert [[(one["gloss"], one["probability"]) for one in of_file["top"]] for of_file in found[::2]] == [
        list(one.top) for one in expected
    ]
    assert found[1]["error"] in printed.err
    assert printed.err.count("\n") == 1

    assert run(checkpoint, f"input=[{inputs}]", "format=csv", f"output={tmp_path / 'out.csv'}", "top=9") == 1
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [row["top1"] for row in rows] == [expected[0].gloss, "", expected[1].gloss]
    assert [float(row["p1"]) for row in rows[::2]] == [one.probability for one in expected]
    assert "p3" in rows[0]
    assert "p4" not in rows[0]  # there are three glosses

    assert run(checkpoint, f"input={good[0].parent}", "top=2") == 0
    printed = capsys.readouterr()
    assert printed.out == "".join(f"{one!r}\n" for one in expected)
    assert printed.err == ""


def test_a_long_video_becomes_timelines(
    checkpoint: Path, long_video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "timelines"
    options = ["windows=true", "window_s=1", "stride_s=0.5", "threshold=0.4", f"timelines={folder}"]
    assert run(checkpoint, f"input={long_video}", *options, "format=json") == 0
    printed = capsys.readouterr()
    [found] = json.loads(printed.out)
    assert found == json.loads((folder / "long.json").read_text())
    detections = found["detections"]
    assert len({one["gloss"] for one in detections}) > 1
    assert max(one["end_s"] for one in detections) > 31  # of the second piece
    assert all(one["probability"] >= 0.4 for one in detections)
    assert sorted(file.name for file in folder.iterdir()) == ["long.csv", "long.eaf", "long.json", "long.vtt"]


def test_a_window_has_the_prediction_of_that_part_of_the_video(checkpoint: Path, long_video: Path) -> None:
    predictor = asl.load(checkpoint, accelerator="cpu")
    windows = list(predictor.predict_windows(long_video, window_s=0.96, stride_s=0.48, top=3, workers=2))
    assert [one.start_s for one in windows] == pytest.approx([*(0.48 * k for k in range(82)), 39.04])
    for window in (windows[0], windows[31], windows[62], windows[-1]):
        alone = predictor.predict(long_video, start_s=window.start_s, end_s=window.end_s, top=3)
        assert (alone.top, alone.end_s) == (window.top, pytest.approx(window.end_s))
    part = list(predictor.predict_windows(long_video, window_s=0.96, start_s=9.6, end_s=12, top=3))
    assert [one.start_s for one in part] == pytest.approx([9.6 + 0.24 * k for k in range(7)])
    assert part[2].top == windows[21].top


def test_the_threshold_is_said_unless_it_is_given(
    checkpoint: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = next((tiny_data / "videos" / "test" / "go").glob("*.mp4"))
    options = [f"input={video}", "windows=true", f"timelines={tmp_path}"]
    run(checkpoint, *options)
    assert "threshold 0.5, which nothing was measured for: " in (said := capsys.readouterr().err)
    assert "best-val/metrics.json: No such file or directory. python evaluate.py split=val writes it" in said
    bins = [{"low": 0.6, "clips": 4, "accuracy": 1.0}]
    metrics = tmp_path / "metrics.json"
    content = {"split": "val", "data_split": "official", "epoch": 1, "glosses": 3, "dataset": "tiny"}
    model = asl.read_checkpoint(checkpoint)["asl"]["model"]["name"]
    metrics.write_text(json.dumps({**content, "model": model, "calibration": {"bins": bins}}))
    run(checkpoint, *options, f"metrics={metrics}")
    said = capsys.readouterr().err
    assert (
        f"threshold 0.6: of val clips with at least this confidence 90 % or more are right ({metrics})"
        in said
    )


def test_a_damaged_long_video_is_one_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video")
    assert run(checkpoint, f"input={bad}", "windows=true", "threshold=0.5", f"timelines={tmp_path}") == 1
    assert capsys.readouterr().err.startswith(f"error: {bad} cannot be read")


def test_a_camera_prints_each_sign_once(
    checkpoint: Path, long_video: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def fake_camera(number: int) -> Iterator[Iterator[tuple[VideoFrame, Fraction]]]:
        frames: list[tuple[VideoFrame, Fraction]] = []
        decode_segment(long_video, lambda frame, time_s: frames.append((frame, time_s)), end_s=Fraction(8))
        yield iter(frames)

    monkeypatch.setattr("asl.inference.run.open_camera", fake_camera)
    options = ["window_s=1", "stride_s=0.5", "threshold=0.4", "format=json"]
    assert run(checkpoint, "input=camera:0", *options) == 0
    printed = capsys.readouterr()
    signs: list[dict[str, Any]] = [json.loads(line) for line in printed.out.splitlines()]
    assert signs
    assert all(one["probability"] >= 0.4 and 1 <= one["time_s"] <= 8 for one in signs)
    predictor = asl.load(checkpoint, accelerator="cpu")
    first = predictor.predict(long_video, start_s=signs[0]["time_s"] - 1, end_s=signs[0]["time_s"])
    assert (signs[0]["gloss"], signs[0]["probability"]) == first.top[0]


def test_a_missing_camera_and_impossible_settings_are_errors(checkpoint: Path, tiny_data: Path) -> None:
    with pytest.raises(VideoFileError, match="camera:999 cannot be read"):
        run(checkpoint, "input=camera:999")
    with pytest.raises(ConfigError, match="signs of a camera go to stdout"):
        run(checkpoint, "input=camera:0", "output=signs.csv")
    with pytest.raises(ConfigError, match=r"format=table writes another format; set format=csv"):
        run(checkpoint, "input=a.mp4", "output=signs.csv")
    with pytest.raises(InputError, match="input: name a video"):
        run(checkpoint)
    with pytest.raises(ConfigError, match="the part is empty"):
        run(checkpoint, "input=a.mp4", "start_s=3", "end_s=2")
    for key in ("window_s=1.0", "stride_s=0.5", "threshold=0.4", "metrics=metrics.json"):
        with pytest.raises(ConfigError, match=f"{key}: is for windows=true and for cameras"):
            run(checkpoint, "input=a.mp4", key)
    with pytest.raises(UserError, match=r"none\.pt: no such checkpoint\. python train\.py writes"):
        run(tiny_data / "none.pt", "input=a.mp4")


def test_that_a_video_has_no_box_of_its_signer_is_said(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = next((tiny_data / "videos" / "test" / "book").glob("*.mp4"))
    square = ["data.resize=[20,20]", "data.fit=pad"]
    whole = write_checkpoint(tmp_path / "whole.pt", tiny_data, *square)
    assert run(whole, f"input={file}") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    cropped = write_checkpoint(tmp_path / "cropped.pt", tiny_data, *square, "data.crop=signer")
    assert run(cropped, f"input={file}") == 0
    again = capsys.readouterr()
    assert again.out == printed.out
    assert again.err.startswith(f"{cropped} was trained on the square around each signer (data.crop=signer)")
    assert again.err.count("\n") == 1
