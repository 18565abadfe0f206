"""Videos that are copied without encoding."""

import av
import numpy as np
import pytest
from raw_videos import frame_numbers, write_raw

from asl.codecs.decoder import decode_file
from asl.codecs.probe import probe
from asl.codecs.stream_copy import copy_video
from asl.demo.raw_files import read_times


def test_a_plain_video_is_copied_with_its_packets_and_times(tmp_path):
    source = write_raw(tmp_path / "raw.mkv", fps=None)
    timeline = copy_video(source, tmp_path / "clip.mp4")
    assert frame_numbers(tmp_path / "clip.mp4") == list(range(len(read_times(source))))
    assert decode_file(tmp_path / "clip.mp4").timeline.times == timeline.times == tuple(read_times(source))

    def packets(path):
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(tmp_path / "clip.mp4") == packets(source)


def write_x264(path, params, *, audio=False):
    """A file of 12 frames of noise in these ``x264-params``, with or without sound."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"x264-params": params})
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        sound = container.add_stream("aac", rate=44100) if audio else None
        for _ in range(12):
            picture = rng.integers(90, 110, (64, 96, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        if sound:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.rate = 44100
            container.mux([*sound.encode(silence), *sound.encode(None)])
    return path


@pytest.mark.parametrize("params", ["", "bframes=3:b-pyramid=normal", "keyint=1", "cabac=0:slices=3", "qp=0"])
@pytest.mark.parametrize("audio", [False, True])
def test_a_copy_without_decoding_a_frame_is_the_same(tmp_path, params, audio):
    source = write_x264(tmp_path / "raw.mp4", params, audio=audio)
    assert probe(source).header_suffices
    timelines = [
        copy_video(source, tmp_path / f"{known}.mp4", audio=audio, is_yuv420p=known)
        for known in (False, True)
    ]
    assert timelines[0] == timelines[1]
    assert (tmp_path / "False.mp4").read_bytes() == (tmp_path / "True.mp4").read_bytes()


@pytest.mark.parametrize(
    "params", ["colorprim=bt709", "colormatrix=bt709", "transfer=bt709", "fullrange=on", "sar=4/3", "sar=1/1"]
)
def test_a_header_does_not_suffice_where_frames_say_more(tmp_path, params):
    assert not probe(write_x264(tmp_path / "raw.mp4", params)).header_suffices


def test_a_header_of_another_container_does_not_suffice(tmp_path):
    assert not probe(write_x264(tmp_path / "raw.mkv", "")).header_suffices
