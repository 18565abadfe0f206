import av
import av.logging
import pytest

from asl.codecs.encoder import ffmpeg_log, x264
from asl.codecs.video_file import VideoError


def test_settings_become_ffmpegs_options():
    encoder = x264(crf=18, preset="fast")
    assert dict(encoder.options) == {"preset": "fast", "crf": "18"}
    assert encoder.hwaccel is None


def test_x264_encodes_pictures_of_every_size():
    encoder = x264(crf=18, preset="fast")
    assert encoder.for_size(16, 16) is encoder


def test_the_proof_log_stores_name_and_options():
    assert x264(crf=20, preset="fast").as_dict() == {
        "name": "libx264",
        "options": {"preset": "fast", "crf": "20"},
        "small": None,
    }


def test_an_encoder_that_cannot_be_opened_is_an_error_with_ffmpegs_message():
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.framerate = 63, 47, "yuv420p", 25
    with pytest.raises(VideoError, match=r"cannot be encoded with libx264: .+") as raised:
        x264(crf=20, preset="fast").open(context)
    assert raised.value.reason == "encoder"


def test_the_log_level_is_left_as_it_was():
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    with ffmpeg_log() as log:
        for _ in range(2):
            av.logging.log(av.logging.ERROR, "test", "the same twice")
    assert [message for _, _, message in log] == ["the same twice"] * 2
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before
