import av
import av.logging
import pytest

from asl.codecs import encoders
from asl.codecs.encoders import EncoderError, nvenc, open_encoder, x264
from asl.config import TrimConfig
from asl.preprocess.clips import backend
from asl.preprocess.clips.backend import workers_for
from asl.preprocess.gpu.choice import encoder_for

BUSY = "OpenEncodeSessionEx failed: out of memory (10): (no details)"
TOO_MANY = "OpenEncodeSessionEx failed: incompatible client key (21): (no details)"
NO_ENCODER = "OpenEncodeSessionEx failed: unsupported device (2): (no details)"


class Context:
    """A codec context that says what FFmpeg would and opens once these failures are used up."""

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
    monkeypatch.setattr(encoders, "_FIRST_PAUSE_S", 0.001)


@pytest.mark.parametrize("failures", [(BUSY, BUSY), (TOO_MANY, TOO_MANY)])
def test_a_session_that_is_taken_is_waited_for(failures):
    context = Context(*failures)
    open_encoder(context, nvenc(cq=23, patience_s=60))
    assert (context.opened, context.tried) == (True, 3)


def test_patience_ends_with_the_way_out():
    context = Context(*[BUSY] * 1000)
    with pytest.raises(EncoderError, match=r"no free session .* 0\.02 s.*trim\.workers") as raised:
        open_encoder(context, nvenc(cq=23, patience_s=0.02))
    assert raised.value.reason == "encoder"
    assert 1 < context.tried < 1000


def test_another_failure_is_told_at_once_in_ffmpegs_words():
    context = Context(NO_ENCODER, BUSY)
    with pytest.raises(EncoderError, match=r"cannot be encoded with h264_nvenc: .*unsupported device"):
        open_encoder(context, nvenc(cq=23, patience_s=60))
    assert context.tried == 1


def test_the_log_level_is_left_as_it_was():
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    open_encoder(Context(BUSY), nvenc(cq=23, patience_s=60))
    assert (av.logging.get_level(), av.logging.get_skip_repeated()) == before


def test_settings_become_ffmpegs_options():
    trim = TrimConfig(crf=18, preset="fast", cq=30, timeout_s=100)
    assert encoder_for("cpu", trim) == x264(crf=18, preset="fast")
    assert dict(x264(crf=18, preset="fast").options) == {"preset": "fast", "crf": "18"}
    encoder = encoder_for("nvenc", trim)
    assert (encoder.name, encoder.hwaccel) == ("h264_nvenc", True)
    assert (encoder.options["rc"], encoder.options["cq"], encoder.options["bf"]) == ("vbr", "30", "0")
    assert 0 < encoder.patience_s < 100


def test_pictures_too_small_for_the_gpu_are_encoded_on_the_cpu():
    encoder = encoder_for("nvenc", TrimConfig())
    assert encoder.for_size(320, 240) is encoder
    assert encoder.for_size(144, 108) == encoder.for_size(320, 48) == encoder_for("cpu", TrimConfig())
    on_cpu = encoder_for("cpu", TrimConfig())
    assert on_cpu.for_size(16, 16) is on_cpu


@pytest.mark.parametrize(("cores", "workers"), [(2, 2), (8, 8), (32, 8)])
def test_one_gpu_gets_no_more_than_eight_workers(monkeypatch, cores, workers):
    monkeypatch.setattr(backend, "available_cores", lambda: cores)
    assert workers_for("nvenc", TrimConfig()) == workers
    assert workers_for("cpu", TrimConfig()) == cores
    assert workers_for("nvenc", TrimConfig(workers=20)) == 20
