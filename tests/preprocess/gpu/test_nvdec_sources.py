"""``trim=nvdec`` on sources of unusual kinds: each comes out as with ``trim=cpu``. No test needs a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import test_nvdec_accelerator as whole
from h264_clips import encode
from software_gpu import rewritten
from test_nvdec_accelerator import assert_same, gpu, make, make_on_host, software

from asl.contract.frame_store import FrameSpec, frames_path, open_frames
from asl.preprocess.clips.proof import Proof
from asl.preprocess.gpu.cuda import GpuError
from asl.preprocess.gpu.h264 import prover
from asl.preprocess.gpu.nvdec import clip_decoder, work
from asl.preprocess.gpu.nvdec.candidate import StoredStream
from asl.preprocess.gpu.nvdec.clip_decoder import ClipDecoder

__all__ = ["gpu", "software"]  # fixtures


@pytest.fixture
def segment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Declares a segment of a source: ``segment(name, source, first, last frame)``."""

    def declare(name: str, source: str, first: int, last: int) -> str:
        monkeypatch.setitem(whole.SEGMENTS, name, (source, first, last))
        return name

    return declare


def with_colors(source: Path, target: Path, matrix: int) -> None:
    """Copy a file and tag it with colours in the container alone."""
    with av.open(str(source)) as container, av.open(str(target), "w", format="mp4") as output:
        stream = container.streams.video[0]
        copied = output.add_stream_from_template(stream)
        context = copied.codec_context
        context.colorspace = context.color_primaries = context.color_trc = matrix
        for packet in container.demux(stream):
            if packet.size:
                packet.stream = copied
                output.mux(packet)


@pytest.mark.usefixtures("gpu")
def test_colours_that_stand_in_the_container_alone_count(tmp_path: Path) -> None:
    (tmp_path / "plain.mp4").write_bytes(encode(size=(96, 64)))
    with_colors(tmp_path / "plain.mp4", tmp_path / "tagged.mp4", 1)
    made = make(tmp_path, tmp_path / "gpu", ["plain", "tagged"])
    assert made.by_gpu == 2
    assert_same(made, make_on_host(tmp_path, tmp_path / "host", ["plain", "tagged"]))
    plain, tagged = (
        open_frames(frames_path(tmp_path / "gpu" / "frames", FrameSpec(), name))[0].astype(int)
        for name in ("plain", "tagged")
    )
    assert np.abs(plain - tagged).mean() > 2


@pytest.mark.usefixtures("gpu")
def test_segments_of_a_source_that_does_not_begin_with_an_idr_picture_are_the_hosts(
    tmp_path: Path, segment: Any
) -> None:
    (tmp_path / "all.mp4").write_bytes(encode("open-gop=1:keyint=10:bframes=3", size=(96, 64), frames=40))
    with av.open(str(tmp_path / "all.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        second = [index for index, packet in enumerate(packets) if packet.is_keyframe][1]
        with av.open(str(tmp_path / "late.mp4"), "w", format="mp4") as output:
            copied = output.add_stream_from_template(container.streams.video[0])
            for packet in packets[second:]:
                packet.stream = copied
                output.mux(packet)
    names = [segment("late0", "late", 12, 20)]
    made = make(tmp_path, tmp_path / "gpu", names)
    assert (made.by_gpu, made.left) == (0, {"does not begin with an IDR picture": 1})
    assert_same(made, make_on_host(tmp_path, tmp_path / "host", names))


@pytest.mark.usefixtures("gpu")
def test_damage_elsewhere_in_a_source_is_none_of_a_segment(tmp_path: Path, segment: Any) -> None:
    (tmp_path / "sound.mp4").write_bytes(encode("keyint=10", size=(96, 64), frames=30))
    rewritten(
        tmp_path / "sound.mp4",
        tmp_path / "damaged.mp4",
        lambda index, packet: b"\0\0\xff\xff" + packet[4:] if index == 25 else packet,
    )
    names = [segment("before", "damaged", 2, 6), segment("within", "damaged", 22, 28)]
    made = make(tmp_path, tmp_path / "gpu", names)
    before = made.results["before"]
    assert isinstance(before, Proof)
    assert before.bitstream == ""
    assert made.by_gpu == 1
    assert made.told() == make_on_host(tmp_path, tmp_path / "host", names).told()


@pytest.mark.usefixtures("gpu")
def test_parameter_sets_that_change_leave_segments_to_the_host(tmp_path: Path, segment: Any) -> None:
    (tmp_path / "one.mp4").write_bytes(encode("keyint=10", size=(96, 64), frames=30))
    other = b"\x68\xee\x3c\x80"  # any picture parameter set that is not the header's
    rewritten(
        tmp_path / "one.mp4",
        tmp_path / "changes.mp4",
        lambda index, packet: len(other).to_bytes(4, "big") + other + packet if index == 12 else packet,
    )
    made = make(tmp_path, tmp_path / "gpu", [segment("later", "changes", 21, 25)])
    assert (made.by_gpu, made.left) == (0, {"parameter sets that change": 1})


@pytest.mark.usefixtures("gpu")
def test_lossless_and_full_range_sources_are_the_hosts(tmp_path: Path) -> None:
    (tmp_path / "lossless.mp4").write_bytes(encode("qp=0", size=(96, 64)))
    (tmp_path / "full.mp4").write_bytes(encode("fullrange=on", size=(96, 64)))
    names = ["lossless", "full"]
    made = make(tmp_path, tmp_path / "gpu", names)
    assert (made.by_gpu, made.left) == (0, {"lossless pictures": 1, "full-range colours": 1})
    assert_same(made, make_on_host(tmp_path, tmp_path / "host", names))


@pytest.mark.usefixtures("gpu")
def test_a_large_source_is_the_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.mp4").write_bytes(encode(size=(96, 64)))
    monkeypatch.setattr(work, "_MOST_SOURCE_BYTES", 1000)
    assert make(tmp_path, tmp_path / "gpu", ["large"]).left == {"large source": 1}


def test_memory_that_runs_out_is_asked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    class Memory:
        most = 1000

        def __init__(self, _: object, nbytes: int) -> None:
            if nbytes > self.most:
                raise GpuError("cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY", out_of_memory=True)
            self.nbytes, self.is_free = nbytes, False

        def free(self) -> None:
            self.is_free = True

    for name in ("DeviceBuffer", "PinnedBuffer"):
        monkeypatch.setattr(clip_decoder, name, Memory)
    monkeypatch.setattr(clip_decoder, "NvDecoder", lambda _: None)
    decoder: Any = ClipDecoder(None, {})  # type: ignore[arg-type]
    decoder._memory(100)
    with pytest.raises(GpuError):
        decoder._memory(5000)
    assert not any(buffer.is_free for buffer in decoder._memory(50))


def test_all_groups_of_streams_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prover, "MAX_BYTES", 10)
    streams = [StoredStream(Path(str(i)), None, "", size) for i, size in enumerate((4, 6, 1, 20, 3, 3))]  # type: ignore[arg-type]
    groups = prover.in_groups(streams, lambda stream: stream.nbytes)
    assert [[one.nbytes for one in group] for group in groups] == [[4, 6], [1], [20], [3, 3]]
    assert list(prover.in_groups([], len)) == []
