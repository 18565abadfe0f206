"""``python preprocess.py`` as a user runs it, in a process of its own."""

import os
import signal
import time

import programs
import pytest

from asl.contract.manifest import read_manifest
from asl.preprocess.clips.host_queue import GROUP


def run(*overrides, cwd):
    return programs.run("preprocess.py", *overrides, cwd=cwd)


def start(*overrides, cwd):
    return programs.Program("preprocess.py", *overrides, cwd=cwd, start_new_session=True)


def link_demo(demo_dir, folder):
    """A working directory whose data/demo is the small demo."""
    data = folder / "data" / "demo"
    (data / "metadata").mkdir(parents=True)
    (data / "raw").symlink_to(demo_dir / "raw")
    for path in (demo_dir / "metadata").glob("*.json"):
        (data / "metadata" / path.name).symlink_to(path)
    return data


def clips(data):
    return [path for path in (data / "videos").rglob("*.mp4") if not path.name.startswith(".")]


def wait_for_clips(data, count):
    deadline = time.monotonic() + 60
    while len(clips(data)) < count and time.monotonic() < deadline:
        time.sleep(0.005)


def ends(group):
    """Whether no process of a group is left, after a while."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.2)
    return False


def test_killed_in_the_middle_and_run_again_it_gives_what_an_uninterrupted_run_gives(demo_dir, tmp_path):
    whole, killed = (link_demo(demo_dir, tmp_path / name) for name in ("whole", "killed"))
    assert run("dataset=demo", cwd=tmp_path / "whole").returncode == 0

    for share in (0.2, 0.6):  # of the clips: kill it there, twice
        process = start("dataset=demo", "trim.workers=2", cwd=tmp_path / "killed")
        wait_for_clips(killed, share * len(clips(whole)))
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        for path in clips(killed):  # nothing under a final name is half a file
            assert path.stat().st_size > 0
            assert path.read_bytes()[4:8] == b"ftyp"
        assert not (killed / "metadata" / "demo_manifest.csv").exists()

    before = {path: path.stat().st_mtime_ns for path in clips(killed)}
    ended = run("dataset=demo", cwd=tmp_path / "killed")
    assert ended.returncode == 0
    kept = sum(path.stat().st_mtime_ns == time_ns for path, time_ns in before.items())
    assert kept >= len(before) - 2 * 2 * GROUP  # at most what two workers had not reported at two kills
    for name in ("demo_manifest.csv", "demo_preprocess_errors.csv"):
        assert (killed / "metadata" / name).read_bytes() == (whole / "metadata" / name).read_bytes()
    for clip in read_manifest(whole / "metadata" / "demo_manifest.csv"):
        assert (killed / clip.path).read_bytes() == (whole / clip.path).read_bytes()
    assert not list((killed / "videos").rglob(".*.part*"))


def test_stopped_by_hand_it_says_so_in_one_line_and_leaves_nothing_running(demo_dir, tmp_path):
    data = link_demo(demo_dir, tmp_path)
    process = start("dataset=demo", "trim.workers=2", cwd=tmp_path)
    wait_for_clips(data, 5)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    assert (
        process.communicate()[1]
        == "stopped; what is cut is kept, and the same command goes on from there (without overwrite=true)\n"
    )
    assert process.returncode == 130
    assert ends(process.pid)
    assert run("dataset=demo", cwd=tmp_path).returncode == 0
    assert not [path for path in (data / "videos").rglob(".*") if path.name != ".lock"]


def test_a_second_run_at_the_same_time_is_refused(demo_dir, tmp_path):
    data = link_demo(demo_dir, tmp_path)
    process = start("dataset=demo", "trim.workers=1", "trim.preset=medium", cwd=tmp_path)
    try:
        while not clips(data):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGSTOP)
        elsewhere = ("paths.videos_dir=videos", "paths.frames_dir=frames")
        for folders, refused in (((), "videos"), (elsewhere, "metadata")):
            ended = run("dataset=demo", *folders, cwd=tmp_path)
            assert ended.returncode == 1
            assert f"{refused} is being written by another run" in ended.stderr
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trim.crff=3", "trim.crff: there is no such key. Did you mean trim.crf?"),
        ("+trim.x=3", "trim.x=3: there is no such key; trim has: audio, cq, crf"),
        ("overwrit=true", "overwrit: there is no such key. Did you mean overwrite?"),
        ("launcher.jobs=2", "launcher.jobs: there is no such key: the chosen launcher has none."),
        ("trim.crf=good", "trim.crf: Value 'good' of type 'str' could not be converted to Integer"),
        ("trim.crf=99", "trim.crf=99: must be at least 0 and at most 51"),
        ("trim.preset=fastest", "trim.preset=fastest: must be one of ultrafast, superfast"),
        ("trim=gpu9", "Could not find 'trim/gpu9'"),
        ("dataset=wlasl5", "Could not find 'dataset/wlasl5'"),
        ("strict=perhaps", "strict: Value 'perhaps' is not a valid bool"),
        ("trim.crf=", "trim.crf"),
    ],
)
def test_a_wrong_setting_is_one_clear_message_before_any_work(tmp_path, override, message):
    ended = run(override, cwd=tmp_path)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "data" / "videos").exists()


def test_without_metadata_it_says_where_it_looked_and_how_to_get_some(tmp_path):
    ended = run(cwd=tmp_path)
    assert ended.returncode == 1
    assert "data/metadata/WLASL100_flat.json: no such metadata file" in ended.stderr
    assert "github.com/dxli94/WLASL" in ended.stderr
    ended = run("dataset=demo", cwd=tmp_path)
    assert "python -m asl.demo" in ended.stderr
