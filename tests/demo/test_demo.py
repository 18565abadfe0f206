"""The demo data set: what it holds, that it is reproducible, and that its pictures tell the truth."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl.demo import (
    GLOSSES,
    DemoError,
    Gloss,
    UnreadableFrameNumberError,
    make_demo,
    read_frame_number,
    read_truth,
)
from asl.demo.frame_number import MAX_FRAME_NUMBER, write_frame_number
from asl.demo.glosses import MOTIONS, angle, hand_position
from asl.demo.make import Recipe, plan_demo
from asl.demo.metadata import frames_of
from asl.demo.plan import FPS, SIGNERS
from asl.demo.raw_files import Format, RawFile, frame_times, is_damaged, read_times, write_raw_file
from asl.demo.signer import Take, draw, hands_at, make_signer

PROGRESS = st.floats(0, 1)
GLOSS = st.sampled_from(GLOSSES)

# ---------------------------------------------------------------- glosses


@given(GLOSS, PROGRESS)
def test_played_backwards_a_gloss_is_its_partner(gloss: Gloss, progress: float) -> None:
    partner = gloss.backwards()
    assert partner in GLOSSES
    assert partner != gloss
    assert partner.backwards() == gloss
    assert hand_position(gloss, 1 - progress) == pytest.approx(hand_position(partner, progress), abs=1e-9)


@given(GLOSS, PROGRESS)
def test_mirrored_a_gloss_is_that_of_the_other_hand(gloss: Gloss, progress: float) -> None:
    partner = gloss.mirrored()
    assert partner in GLOSSES
    assert (partner.hand != gloss.hand, partner.motion) == (True, gloss.motion)
    x, y = hand_position(gloss, progress)
    assert hand_position(partner, progress) == pytest.approx((-x, y))


@pytest.mark.parametrize("motion", MOTIONS)
def test_all_motions_are_at_the_same_places_equally_often(motion: str) -> None:
    # Sampled evenly in time, each of 8 sectors of the circle holds an eighth of the positions.
    progress = (np.arange(4000) + 0.5) / 4000
    angles = np.array([angle(motion, share) for share in progress]) % (2 * math.pi)
    assert np.bincount((angles / (2 * math.pi) * 8).astype(int), minlength=8).tolist() == [500] * 8


def test_no_two_motions_go_the_same_way() -> None:
    ways = {tuple(round(angle(motion, step / 16), 6) for step in range(17)) for motion in MOTIONS}
    assert len(ways) == len(MOTIONS) == 4
    assert len(set(GLOSSES)) == 8


@pytest.mark.parametrize("gloss", GLOSSES, ids=lambda gloss: gloss.name)
@pytest.mark.parametrize("signer_id", [0, 2], ids=["right-handed", "left-handed"])
def test_only_the_hand_of_the_gloss_moves_and_it_comes_back_to_rest(gloss: Gloss, signer_id: int) -> None:
    signer = make_signer(signer_id, seed=0)
    assert signer.left_handed == (signer_id == 2)
    take = Take(gloss, 0.5, 2.0, centre=(0, 0), radius=0.17, unevenness=0.2, unevenness_phase=1.0)
    times = np.arange(0, 3, 0.04)
    ways = {
        hand: np.array([hands_at(signer, (take,), time)[hand] for time in times])
        for hand in ("right", "left")
    }
    moved = {hand: np.abs(way - way[0]).max() for hand, way in ways.items()}
    other = "left" if gloss.hand == "right" else "right"
    assert moved[gloss.hand] > 0.3
    assert moved[other] < 0.02
    assert np.abs(ways[gloss.hand][-1] - ways[gloss.hand][0]).max() < 0.02
    assert np.abs(np.diff(ways[gloss.hand], axis=0)).max() < 0.15, "the hand jumps"


def test_hands_are_the_brightest_part_of_every_signer() -> None:
    for signer_id in range(40):
        signer = make_signer(signer_id, seed=0)
        assert sum(signer.skin) > 1.6 * max(sum(signer.clothes), sum(signer.background))


# ---------------------------------------------------------------- frame numbers


@given(st.integers(0, MAX_FRAME_NUMBER), st.integers(96, 200), st.integers(80, 160))
def test_a_frame_number_survives_scaling_and_lost_rows(number: int, width: int, height: int) -> None:
    image = np.full((height, width, 3), 70, np.uint8)
    write_frame_number(image, number)
    assert read_frame_number(image) == number
    assert read_frame_number(image[: height // 2 * 2, : width // 2 * 2]) == number
    assert read_frame_number(image.repeat(2, axis=0).repeat(2, axis=1)) == number


def test_a_wrong_bit_is_noticed() -> None:
    image = np.full((96, 160, 3), 70, np.uint8)
    write_frame_number(image, 1234)
    for block in range(16):
        wrong = image.copy()
        wrong[:6, block * 10 : (block + 1) * 10] = 144 - wrong[:6, block * 10 : (block + 1) * 10]
        with pytest.raises(UnreadableFrameNumberError, match="check bits"):
            read_frame_number(wrong)


def test_a_picture_without_a_strip_has_no_frame_number() -> None:
    for value in (0, 72, 128, 255):
        with pytest.raises(UnreadableFrameNumberError):
            read_frame_number(np.full((96, 128, 3), value, np.uint8))


# ---------------------------------------------------------------- raw files


def upright_frames(path: Path, rotation: int) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return [np.rot90(frame, -rotation // 90) for frame in frames]


def test_every_raw_file_shows_its_frame_numbers(demo_dir: Path) -> None:
    truth = read_truth(demo_dir)
    seen = set()
    for path, told in truth["raw_files"].items():
        if told["damage"]:
            continue
        frames = upright_frames(demo_dir / "raw" / path, told["rotation"])
        assert [read_frame_number(frame) for frame in frames] == list(range(told["num_frames"])), path
        assert frames[0].shape == (told["size"][1], told["size"][0], 3)
        seen.add((told["suffix"], told["codec"]))
    assert seen == {
        *((".mp4", "libx264"), (".mp4", "mpeg4"), (".mkv", "libx264"), (".mov", "libx264")),
        *((".webm", "libvpx-vp9"), (".avi", "mpeg4")),
    }


def test_raw_files_come_in_all_rates_and_orientations(demo_dir: Path) -> None:
    told = read_truth(demo_dir)["raw_files"].values()
    assert {raw["fps"] for raw in told} == {"24000/1001", "25", "30000/1001", "30", None}
    assert {raw["rotation"] for raw in told} == {0, 90, 180, 270}
    assert {raw["audio"] for raw in told} == {None, "aac", "libopus"}
    assert any(raw["size"][0] % 2 for raw in told)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_file_says_how_to_turn_it(tmp_path: Path, rotation: int) -> None:
    raw = RawFile("a.mp4", Format(rotation=rotation), make_signer(0, 0), (), 0.2)
    write_raw_file(raw, tmp_path / "a.mp4")
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
    # FFmpeg counts counter-clockwise.
    assert frame.rotation % 360 == -rotation % 360
    assert (frame.width, frame.height) == ((108, 144) if rotation != 180 else (144, 108))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_rate_is_variable_and_kept(tmp_path: Path, suffix: str) -> None:
    raw = RawFile(f"a{suffix}", Format(suffix, fps=None), make_signer(0, 0), (), 2.0)
    write_raw_file(raw, tmp_path / raw.path)
    times = frame_times(raw)
    assert read_times(tmp_path / raw.path) == times
    steps = np.diff(np.array(times, dtype=float))
    assert steps.min() < 0.03
    assert steps.max() > 0.04


def test_damaged_files_are_noticed_by_a_strict_decoder(demo_dir: Path) -> None:
    told = read_truth(demo_dir)["raw_files"]
    damaged = {path for path, raw in told.items() if raw["damage"]}
    assert {told[path]["damage"] for path in damaged} == {"bytes", "cut off", "web page"}
    assert all(is_damaged(demo_dir / "raw" / path) for path in damaged)
    assert not is_damaged(demo_dir / "raw" / next(path for path in told if path not in damaged))
    noisy = next(path for path in damaged if told[path]["damage"] == "bytes")
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
        told = truth["instances"][video_id]
        if row["frame_end"] != -1:
            assert last == row["frame_end"]
        elif told["outcome"] == "clip":
            fps = truth["raw_files"][told["raw"]]["fps"]
            if fps is not None:
                extra = last - FPS * float(truth["raw_files"][told["raw"]]["num_frames"] / Fraction(fps))
                assert -0.6 < extra < 3


def test_lengths_are_like_wlasls() -> None:
    rows = [row for row in plan_demo(Recipe(34, 8, 8, seed=0)).rows if row.outcome == "clip"]
    frames = [round(FPS * row.duration_s) for row in rows]
    assert 26 <= min(frames) <= 30
    assert 120 <= max(frames) <= 149
    assert 0.5 <= np.mean(np.array(frames) < 63) <= 0.65


def test_the_default_demo_has_the_same_number_of_clips_of_every_gloss() -> None:
    plan = plan_demo(Recipe(34, 8, 8, seed=0))
    for split, expected in (("train", 34), ("val", 8), ("test", 8)):
        for gloss in GLOSSES:
            rows = [row for row in plan.rows if (row.gloss, row.split, row.outcome) == (gloss, split, "clip")]
            assert len(rows) == expected


def test_some_signers_of_val_and_test_are_never_seen_in_training() -> None:
    plan = plan_demo(Recipe(34, 8, 8, seed=0))
    of = {split: {row.signer_id for row in plan.rows if row.split == split} for split in SIGNERS}
    for split in ("val", "test"):
        assert of[split] - of["train"]
        assert of[split] & of["train"]


@pytest.mark.parametrize("outcome", ["clip", "missing", "ambiguous", "damaged", "past_end"])
def test_every_outcome_occurs_and_fits_the_raw_folder(demo_dir: Path, outcome: str) -> None:
    told = [row for row in read_truth(demo_dir)["instances"].values() if row["outcome"] == outcome]
    assert len(told) >= 2
    for row in told:
        assert (row["raw"] is None) == (outcome == "missing")
        assert row["raw"] is None or (demo_dir / "raw" / row["raw"]).is_file()


def test_frames_of_a_segment_are_those_shown_within_it() -> None:
    times = [i * Fraction(1001, 30000) for i in range(100)]
    # Frames 26 to 50 at 25 fps are the second from 1 s to 2 s: 30 is the first at or after 1 s.
    assert frames_of(26, 50, times) == range(30, 60)
    assert frames_of(1, -1, times) == range(100)
    tiles = [frames_of(1, 27, times), frames_of(28, 60, times), frames_of(61, 75, times)]
    assert [i for tile in tiles for i in tile] == list(range(frames_of(1, 75, times).stop))


# ---------------------------------------------------------------- making it


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(
    demo_dir: Path, tmp_path: Path
) -> None:
    make_demo(tmp_path / "again", train_per_gloss=1, val_per_gloss=1, test_per_gloss=1, workers=1)

    def contents(folder: Path) -> dict[str, bytes]:
        files = [*(folder / "raw").rglob("*"), *(folder / "metadata").glob("demo*.json")]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files if file.is_file()}

    assert contents(tmp_path / "again") == contents(demo_dir)


def test_another_seed_gives_another_demo() -> None:
    one, other = plan_demo(Recipe(1, 1, 1, seed=0)), plan_demo(Recipe(1, 1, 1, seed=1))
    assert one.files != other.files


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


def test_a_picture_depends_on_nothing_but_its_arguments() -> None:
    signer = make_signer(3, seed=0)
    picture = draw(signer, (), 0.5, 7, 144, 108)
    assert picture.shape == (108, 144, 3)
    assert picture.dtype == np.uint8
    assert (picture == draw(make_signer(3, seed=0), (), 0.5, 7, 144, 108)).all()


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
    told = read_truth(tmp_path)["raw_files"]
    assert all((tmp_path / "raw" / path).stat().st_size for path in told)


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
