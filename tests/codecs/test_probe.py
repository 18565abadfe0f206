"""What a file is, and files that are no videos."""

from fractions import Fraction

import pytest
from raw_videos import write_raw

from asl.codecs.probe import probe
from asl.codecs.video_file import VideoError


def test_plain_videos_are_h264_of_even_size_and_upright(tmp_path):
    for suffix, options, is_plain in (
        (".mkv", {}, True),
        (".webm", {"codec": "libvpx-vp9"}, False),
        (".avi", {"codec": "mpeg4", "fps": Fraction(25), "size": (129, 97)}, False),
        (".mp4", {"rotation": 90}, False),
    ):
        assert probe(write_raw(tmp_path / f"raw{suffix}", **options)).is_plain is is_plain, (suffix, options)


def test_upright_size_swaps_with_a_quarter_turn(tmp_path):
    info = probe(write_raw(tmp_path / "raw.mp4", rotation=90, size=(144, 108)))
    assert (info.width, info.height) == (108, 144)
    assert info.upright_size == (144, 108)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\0" * 5000])
def test_a_file_that_is_no_video_is_an_error(tmp_path, content):
    (tmp_path / "raw.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"cannot be read|holds no"):
        probe(tmp_path / "raw.mp4")


def test_a_truncated_download_is_an_error(tmp_path):
    with pytest.raises(VideoError, match="cannot be read"):
        probe(write_raw(tmp_path / "raw.mp4", damage="cut off"))
