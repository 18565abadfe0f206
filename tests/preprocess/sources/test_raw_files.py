"""The raw folder and the cache of what its files are."""

import pytest
from raw_videos import write_raw

from asl.preprocess.sources.raw_files import RawFolderError, RawVideoCache, scan_raw
from asl.workers import Workers


def test_only_videos_are_scanned_in_every_folder(tmp_path):
    for name in ("b.mp4", "deep/er/A.MKV", ".hidden.mp4", "x.mp4.part", "notes.txt", "dir.mp4/x.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert scan_raw(tmp_path) == ["b.mp4", "deep/er/A.MKV"]
    with pytest.raises(RawFolderError, match=r"no such folder \(paths\.raw_dir\)"):
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
