"""The raw folder and the cache of what its files are."""

import dataclasses
import json
from types import SimpleNamespace

import pytest
from raw_videos import write_raw

from asl.preprocess.sources import raw_files
from asl.preprocess.sources.raw_files import (
    USUAL,
    RawFolderError,
    RawVideo,
    RawVideoCache,
    join_caches,
    probe_raw,
    scan_raw,
)
from asl.workers import Done, Failed, Workers


def test_only_videos_are_scanned_in_every_folder(tmp_path):
    for name in ("b.mp4", "deep/er/A.MKV", ".hidden.mp4", "x.mp4.part", "notes.txt", "dir.mp4/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert scan_raw(tmp_path) == ["b.mp4", "deep/er/A.MKV"]
    with pytest.raises(RawFolderError, match=r"no such folder \(dataset\.root, by default paths\.raw_dir\)"):
        scan_raw(tmp_path / "nowhere")


@pytest.mark.slow
def test_raw_videos_are_opened_once_and_again_only_if_they_change(tmp_path, monkeypatch):
    write_raw(tmp_path / "raw" / "a.mp4", rotation=90, size=(144, 108))
    (tmp_path / "raw" / "b.mp4").write_bytes(b"no video")
    cache = tmp_path / "raw_videos.json"

    def probe():
        opened = []
        with Workers(1) as workers:
            known = RawVideoCache(tmp_path / "raw", cache).probe(
                ["a.mp4", "b.mp4"], workers, on_done=lambda: opened.append(1)
            )
        assert len(opened) == 2
        return known

    first = probe()
    assert list(first) == ["a.mp4"]
    assert (first["a.mp4"].width, first["a.mp4"].height, first["a.mp4"].codec) == (144, 108, "h264")
    assert first["a.mp4"].duration_s == pytest.approx(2)
    stamp = cache.read_text()
    assert probe() == first
    assert cache.read_text() == stamp
    write_raw(tmp_path / "raw" / "a.mp4", duration_s=3)
    assert probe()["a.mp4"].duration_s == pytest.approx(3)
    cache.write_text("[1]")
    assert probe()["a.mp4"].duration_s == pytest.approx(3)


def test_finished_clips_are_no_raw_files(tmp_path):
    for name in ("a.mp4", "videos/train/book/1.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert scan_raw(tmp_path, tmp_path / "videos") == ["a.mp4"]
    assert scan_raw(tmp_path) == ["a.mp4", "videos/train/book/1.mp4"]


class Opened:
    """Stands for worker processes: keeps the names of the files that are opened. Each is two seconds long."""

    def __init__(self):
        self.names, self.timeout_s = [], None

    def run_each(self, function, tasks, *, timeout_s):
        self.timeout_s = timeout_s
        for path in tasks:
            self.names.append(path.name)
            yield Failed(path, None, "", "crash") if "bad" in path.name else Done(path, RawVideo(2.0, 64, 48))


@pytest.fixture
def raw_dir(tmp_path):
    for name in ("a.mp4", "bad.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"video")
    return tmp_path


def probed(raw_dir, files=("a.mp4", "bad.mp4", "c.mp4")):
    """The known files, the opened ones, and how often progress was reported."""
    workers, done = Opened(), []
    cache = RawVideoCache(raw_dir, raw_dir / "cache.json")
    known = cache.probe(files, workers, timeout_s=7, on_done=lambda: done.append(1))
    assert workers.timeout_s == 7
    return sorted(known), workers.names, len(done)


def test_files_that_cannot_be_opened_are_left_out_and_tried_again(raw_dir):
    assert probed(raw_dir) == (["a.mp4", "c.mp4"], ["a.mp4", "bad.mp4", "c.mp4"], 3)
    assert probed(raw_dir) == (["a.mp4", "c.mp4"], ["bad.mp4"], 3)
    (raw_dir / "c.mp4").write_bytes(b"another one")
    assert probed(raw_dir, ["a.mp4", "c.mp4"]) == (["a.mp4", "c.mp4"], ["c.mp4"], 2)
    assert probed(raw_dir, ["c.mp4"]) == (["c.mp4"], [], 1)  # what was not asked for is kept
    assert probed(raw_dir, ["a.mp4"]) == (["a.mp4"], [], 1)


def test_runs_share_the_opening_of_files_and_read_what_the_others_found(raw_dir):
    (raw_dir / "bad.mp4").unlink()
    for name in "bdef":
        (raw_dir / f"{name}.mp4").write_bytes(b"video")
    files = [f"{name}.mp4" for name in "abcdef"]
    caches = [raw_dir / "own.json", raw_dir / "other.json", raw_dir / "main.json"]
    RawVideoCache(raw_dir, caches[2]).probe(["b.mp4"], Opened())

    class OtherIsFaster(Opened):
        def run_each(self, function, tasks, *, timeout_s):
            if not caches[1].exists():
                RawVideoCache(raw_dir, caches[1]).probe(["a.mp4", "d.mp4"], Opened())
            yield from super().run_each(function, tasks, timeout_s=timeout_s)

    workers = OtherIsFaster()
    cache = RawVideoCache(raw_dir, caches[0], lambda: caches[1:])
    assert list(cache.probe(files, workers, shard=(2, 3))) == files
    assert workers.names == ["c.mp4", "f.mp4", "e.mp4"]  # its own part, and what nobody has opened
    assert list(json.loads(caches[0].read_text())) == ["c.mp4", "e.mp4", "f.mp4"]
    join_caches(caches[2], caches[:2])
    assert list(json.loads(caches[2].read_text())) == files
    assert [path.exists() for path in caches] == [False, False, True]


def test_properties_that_another_version_kept_are_read_again(raw_dir):
    files = ["a.mp4", "c.mp4"]
    probed(raw_dir, files)
    before = json.loads((raw_dir / "cache.json").read_text())
    stamp, fields = before["a.mp4"]
    fewer = {key: value for key, value in fields.items() if key != "codec"}
    for changed, opened in ((fewer, ["a.mp4"]), (fields | {"more": 1}, ["a.mp4"]), (fields, [])):
        (raw_dir / "cache.json").write_text(json.dumps(before | {"a.mp4": [stamp, changed]}))
        assert probed(raw_dir, files) == (files, opened, 2)


def test_only_plain_h264_can_be_copied_unopened():
    plain = RawVideo(2.0, 64, 48, 25.0, "h264", "yuv420p", False, True)
    assert plain.can_be_copied_unopened is True
    for other in (
        {"codec": "hevc"},
        {"codec": "vp9"},
        {"pix_fmt": "yuv420p10le"},
        {"pix_fmt": "nv12"},
        {"turned": True},
        {"header_suffices": False},
    ):
        assert dataclasses.replace(plain, **other).can_be_copied_unopened is False


def test_what_is_not_known_of_a_file_is_empty_and_has_usual_values_for_estimates():
    assert RawVideo(2.0, 64, 48) == RawVideo(2.0, 64, 48, 0.0, "", "", False, False)
    assert (USUAL.duration_s, USUAL.width, USUAL.height, USUAL.fps) == (3.0, 640, 480, 30.0)


def test_properties_are_upright_and_rounded_to_millionths(monkeypatch, tmp_path):
    info = SimpleNamespace(
        **{"duration_s": 2 / 3, "fps": 200 / 3, "upright_size": (48, 64), "codec": "h264"},
        **{"pix_fmt": "yuv420p", "orientation_filters": ("hflip",), "header_suffices": True},
    )
    monkeypatch.setattr(raw_files, "probe", lambda _: info)
    expected = RawVideo(0.666667, 48, 64, 66.666667, "h264", "yuv420p", True, True)
    assert probe_raw(tmp_path / "a.mp4") == expected
    assert probe_raw(tmp_path / "a.mp4").turned is True
