"""NVENC: waiting for a free session, pictures that are too small for it, and its settings."""

import av
import av.logging
import pytest

from asl.codecs.encoder import x264
from asl.codecs.video_file import VideoError
from asl.preprocess.clips import backend
from asl.preprocess.clips.backend import TrimSettings, workers_for
from asl.preprocess.gpu import nvenc as nvenc_module
from asl.preprocess.gpu.choice import encoder_for
from asl.preprocess.gpu.nvenc import nvenc

BUSY = "OpenEncodeSessionEx failed: out of memory (10): (no details)"
TOO_MANY = "OpenEncodeSessionEx failed: incompatible client key (21): (no details)"
NO_ENCODER = "OpenEncodeSessionEx failed: unsupported device (2): (no details)"


class Context:
    """A codec context that logs FFmpeg's messages and opens once these failures are used up."""

    def __init__(self, *failures):
        self.failures, self.opened, self.tried = list(failures), False, 0

    def open(self):
        self.tried += 1
        if self.failures:
            av.logging.log(av.logging.ERROR, "h264_nvenc", self.failures.pop(0) + "\n")
            raise av.ExternalError(0, "Generic error in an external library")
        self.opened = True


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(nvenc_module, "_FIRST_PAUSE_S", 0.001)


@pytest.mark.parametrize("failures", [(BUSY, BUSY), (TOO_MANY, TOO_MANY)])
def test_opening_waits_while_all_sessions_are_taken(failures):
    context = Context(*failures)
    nvenc(cq=23, session_timeout_s=60).open(context)
    assert (context.opened, context.tried) == (True, 3)


class Clock:
    """A clock on which only pauses take time."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now

    def sleep(self, pause_s):
        self.now += pause_s


def test_after_the_timeout_the_error_names_the_keys_to_change(monkeypatch):
    monkeypatch.setattr(nvenc_module, "time", Clock())
    context = Context(*[BUSY] * 1000)
    with pytest.raises(VideoError, match=r"no free session .* 0\.02 s.*trim\.workers") as raised:
        nvenc(cq=23, session_timeout_s=0.02).open(context)
    assert raised.value.reason == "encoder"
    assert context.tried == 5  # at 0, 1, 3, 7 and 15 ms


def test_any_other_failure_is_raised_at_once_with_ffmpegs_message():
    context = Context(NO_ENCODER, BUSY)
    with pytest.raises(
        VideoError, match=r"cannot be encoded with h264_nvenc: .*unsupported device"
    ) as raised:
        nvenc(cq=23, session_timeout_s=60).open(context)
    assert raised.value.reason == "encoder"
    assert context.tried == 1


def test_the_log_level_is_left_as_it_was():
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    nvenc(cq=23, session_timeout_s=60).open(Context(BUSY))
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


def test_settings_become_ffmpegs_options():
    trim = TrimSettings(crf=18, preset="fast", cq=30, timeout_s=100)
    assert encoder_for("cpu", trim) == x264(crf=18, preset="fast")
    encoder = encoder_for("nvenc", trim)
    assert (encoder.name, encoder.hwaccel) == ("h264_nvenc", "cuda")
    assert (encoder.options["rc"], encoder.options["cq"], encoder.options["bf"]) == ("vbr", "30", "0")
    assert 0 < encoder.session_timeout_s < 100


def test_pictures_below_the_minimum_size_are_encoded_on_the_cpu():
    encoder = encoder_for("nvenc", TrimSettings())
    assert encoder.for_size(320, 240) is encoder
    assert encoder.for_size(144, 108) == encoder.for_size(320, 48) == encoder_for("cpu", TrimSettings())
    alone = nvenc(cq=23, session_timeout_s=0)
    assert alone.for_size(16, 16) is alone


def test_the_proof_log_stores_both_encoders_and_no_timeout():
    on_cpu = x264(crf=20, preset="fast")
    assert nvenc(cq=23, session_timeout_s=9, small_picture_encoder=on_cpu).as_dict() == {
        "name": "h264_nvenc",
        "options": {"preset": "p4", "rc": "vbr", "cq": "23", "bf": "0"},
        "small": {"name": "libx264", "options": {"preset": "fast", "crf": "20"}, "small": None},
    }
    assert nvenc(cq=23, session_timeout_s=9).as_dict()["small"] is None


@pytest.mark.parametrize(("cores", "workers"), [(2, 2), (8, 8), (32, 8)])
def test_one_gpu_gets_no_more_than_eight_workers(monkeypatch, cores, workers):
    monkeypatch.setattr(backend, "available_cores", lambda: cores)
    assert workers_for("nvenc", TrimSettings()) == workers
    assert workers_for("cpu", TrimSettings()) == cores
    assert workers_for("nvenc", TrimSettings(workers=20)) == 20
