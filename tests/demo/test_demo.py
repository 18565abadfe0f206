"""A rendered demo: its files, its metadata, and that it is reproducible."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from raw_videos import pictures

from asl.demo import GLOSSES, DemoError, make_demo, read_frame_number, read_truth
from asl.demo.plan import FPS, SIGNERS
from asl.demo.raw_files import Format, RawFile, frame_times, is_damaged, read_times, write_raw_file
from asl.demo.signer import make_signer

pytestmark = pytest.mark.slow

# ---------------------------------------------------------------- raw files


def upright_frames(path: Path, rotation: int) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [np.rot90(picture, -rotation // 90) for picture in pictures(container)]


def test_every_raw_file_shows_its_frame_numbers(demo_dir: Path) -> None:
    truth = read_truth(demo_dir)
    seen = set()
    for path, entry in truth["raw_files"].items():
        if entry["damage"]:
            continue
        frames = upright_frames(demo_dir / "raw" / path, entry["rotation"])
        assert [read_frame_number(frame) for frame in frames] == list(range(entry["num_frames"])), path
        assert frames[0].shape == (entry["size"][1], entry["size"][0], 3)
        seen.add((entry["suffix"], entry["codec"]))
    assert seen == {
        *((".mp4", "libx264"), (".mp4", "mpeg4"), (".mkv", "libx264"), (".mov", "libx264")),
        *((".webm", "libvpx-vp9"), (".avi", "mpeg4")),
    }


def test_raw_files_come_in_all_rates_and_orientations(demo_dir: Path) -> None:
    files = read_truth(demo_dir)["raw_files"].values()
    assert {raw["fps"] for raw in files} == {"24000/1001", "25", "30000/1001", "30", None}
    assert {raw["rotation"] for raw in files} == {0, 90, 180, 270}
    assert {raw["audio"] for raw in files} == {None, "aac", "libopus"}
    assert any(raw["size"][0] % 2 for raw in files)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_file_says_how_to_turn_it(tmp_path: Path, rotation: int) -> None:
    raw = RawFile("a.mp4", Format(rotation=rotation), make_signer(0, seed=0), (), 0.2)
    write_raw_file(raw, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    # FFmpeg counts counter-clockwise.
    assert frame.rotation % 360 == -rotation % 360
    assert (frame.width, frame.height) == ((108, 144) if rotation != 180 else (144, 108))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_rate_is_variable_and_kept(tmp_path: Path, suffix: str) -> None:
    raw = RawFile(f"a{suffix}", Format(suffix, fps=None), make_signer(0, seed=0), (), 2.0)
    write_raw_file(raw, tmp_path / raw.path)
    times = frame_times(raw)
    assert read_times(tmp_path / raw.path) == times
    steps = np.diff(np.array(times, dtype=float))
    assert steps.min() < 0.03
    assert steps.max() > 0.04


def test_damaged_files_are_noticed_by_a_strict_decoder(demo_dir: Path) -> None:
    files = read_truth(demo_dir)["raw_files"]
    damaged = {path for path, raw in files.items() if raw["damage"]}
    assert {files[path]["damage"] for path in damaged} == {"bytes", "cut off", "web page"}
    assert all(is_damaged(demo_dir / "raw" / path) for path in damaged)
    assert not is_damaged(demo_dir / "raw" / next(path for path in files if path not in damaged))
    noisy = next(path for path in damaged if files[path]["damage"] == "bytes")
    with av.open(str(demo_dir / "raw" / noisy)) as container:  # a header that looks right
        assert container.streams.video[0].frames > 20


# ---------------------------------------------------------------- metadata

WLASL_KEYS = [
    *("gloss", "bbox", "fps", "frame_end", "frame_start", "instance_id", "signer_id", "source", "split"),
    *("url", "variation_id", "video_id"),
]


def test_metadata_has_the_form_of_wlasl(demo_dir: Path) -> None:
    flat = json.loads((demo_dir / "metadata" / "demo.json").read_text())
    nested = json.loads((demo_dir / "metadata" / "demo_nested.json").read_text())
    assert all(list(row) == WLASL_KEYS for row in flat)
    assert [
        {"gloss": entry["gloss"], **instance} for entry in nested for instance in entry["instances"]
    ] == flat
    assert [entry["gloss"] for entry in nested] == [gloss.name for gloss in GLOSSES]
    assert {row["fps"] for row in flat} == {FPS}
    assert len({row["video_id"] for row in flat}) == len(flat)
    assert all(len(row["video_id"]) == 5 for row in flat)
    for entry in nested:
        assert [row["instance_id"] for row in entry["instances"]] == list(range(len(entry["instances"])))


def test_every_gloss_is_in_every_split(demo_dir: Path) -> None:
    flat = json.loads((demo_dir / "metadata" / "demo.json").read_text())
    assert {(row["gloss"], row["split"]) for row in flat} == {
        (gloss.name, split) for gloss in GLOSSES for split in SIGNERS
    }


def test_published_lengths_are_those_of_the_clips(demo_dir: Path) -> None:
    rows = {row["video_id"]: row for row in json.loads((demo_dir / "metadata" / "demo.json").read_text())}
    lengths = json.loads((demo_dir / "metadata" / "demo_lengths.json").read_text())
    truth = read_truth(demo_dir)
    assert lengths.keys() == rows.keys() == truth["instances"].keys()
    names = [gloss.name for gloss in GLOSSES]
    for video_id, row in rows.items():
        label, first, last = lengths[video_id]["action"]
        assert (lengths[video_id]["subset"], names[label], first) == (
            row["split"],
            row["gloss"],
            row["frame_start"],
        )
        entry = truth["instances"][video_id]
        if row["frame_end"] != -1:
            assert last == row["frame_end"]
        elif entry["outcome"] == "clip":
            fps = truth["raw_files"][entry["raw"]]["fps"]
            if fps is not None:
                extra = last - FPS * float(truth["raw_files"][entry["raw"]]["num_frames"] / Fraction(fps))
                assert -0.6 < extra < 3


@pytest.mark.parametrize("outcome", ["clip", "missing", "ambiguous", "damaged", "past_end"])
def test_every_outcome_occurs_and_fits_the_raw_folder(demo_dir: Path, outcome: str) -> None:
    rows = [row for row in read_truth(demo_dir)["instances"].values() if row["outcome"] == outcome]
    assert len(rows) >= 2
    for row in rows:
        assert (row["raw"] is None) == (outcome == "missing")
        assert row["raw"] is None or (demo_dir / "raw" / row["raw"]).is_file()


# ---------------------------------------------------------------- making it


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(
    demo_dir: Path, tmp_path: Path
) -> None:
    make_demo(tmp_path / "again", train_per_gloss=1, val_per_gloss=1, test_per_gloss=1, workers=1)

    def contents(folder: Path) -> dict[str, bytes]:
        files = [*(folder / "raw").rglob("*"), *(folder / "metadata").glob("demo*.json")]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files if file.is_file()}

    assert contents(tmp_path / "again") == contents(demo_dir)


def test_a_finished_demo_is_left_alone_and_another_recipe_refused(demo_dir: Path) -> None:
    truth = demo_dir / "metadata" / "demo_truth.json"
    before = truth.stat().st_mtime_ns
    again = make_demo(demo_dir, train_per_gloss=1, val_per_gloss=1, test_per_gloss=1)
    assert not again.made
    assert truth.stat().st_mtime_ns == before
    with pytest.raises(DemoError, match=r"seed 0 instead of 1.*--overwrite"):
        make_demo(demo_dir, train_per_gloss=1, val_per_gloss=1, test_per_gloss=1, seed=1)


def test_other_peoples_videos_are_never_deleted(tmp_path: Path) -> None:
    video = tmp_path / "raw" / "00618.mp4"
    video.parent.mkdir()
    video.write_bytes(b"precious")
    with pytest.raises(DemoError, match="not the demo's"):
        make_demo(tmp_path, overwrite=True)
    assert video.read_bytes() == b"precious"


# ---------------------------------------------------------------- the command


def test_a_run_that_is_killed_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    code = "from pathlib import Path; from asl.demo import make_demo; make_demo(Path({!r}), {})"
    size = "train_per_gloss=1, val_per_gloss=1, test_per_gloss=1"
    script = tmp_path / "make.py"
    script.write_text(f"if __name__ == '__main__':\n    {code.format(str(tmp_path), size)}\n")
    process = subprocess.Popen([sys.executable, str(script)])
    while not list((tmp_path / ".demo.part").rglob("*.mp4")):
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not (tmp_path / "raw").exists()
    assert not (tmp_path / "metadata").exists()

    make_demo(tmp_path, train_per_gloss=1, val_per_gloss=1, test_per_gloss=1)
    assert not (tmp_path / ".demo.part").exists()
    files = read_truth(tmp_path)["raw_files"]
    assert all((tmp_path / "raw" / path).stat().st_size for path in files)


def test_the_command_says_what_is_in_the_way(demo_dir: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "asl.demo", str(demo_dir)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "train_per_gloss 1 instead of 34" in result.stderr
    assert "--overwrite" in result.stderr
    assert "Traceback" not in result.stderr


def test_making_the_demo_needs_no_torch() -> None:
    code = "import sys, asl.demo.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
