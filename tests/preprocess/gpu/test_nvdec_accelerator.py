"""``trim=nvdec`` gives what ``trim=cpu`` gives, whatever the GPU does. No test needs a GPU."""

from __future__ import annotations

import errno
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from h264_clips import HostSliceParser, demux, encode
from host_build import build
from pebble import ProcessExpired
from software_gpu import Decoder, InProcess, Pool, SoftwareGpu, forget, longer, rewritten
from test_pictures_kernel import _HOST_LAUNCH

from asl.codecs import encode as encode_module
from asl.codecs import frame_collector, stream_copy
from asl.codecs.encoder import x264
from asl.codecs.frame_collector import FramesRequest
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import FrameSpec, frames_path, open_frames, origin, read_origin
from asl.contract.manifest import Box, read_manifest
from asl.contract.paths import Paths
from asl.datasets.wlasl import Wlasl
from asl.demo.frame_number import read_frame_number
from asl.files import PART, remove_temp_files
from asl.preprocess import pipeline
from asl.preprocess.clips import proof as proof_module
from asl.preprocess.clips.backend import TrimSettings
from asl.preprocess.clips.cut import CutError
from asl.preprocess.clips.host_queue import cut_on_host
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.config import PreprocessConfig
from asl.preprocess.gpu import backend
from asl.preprocess.gpu.capabilities import Capabilities
from asl.preprocess.gpu.checks import Capability
from asl.preprocess.gpu.cuda import GpuError
from asl.preprocess.gpu.nvdec import accelerator, candidate, clip_decoder, worker
from asl.preprocess.gpu.nvdec.accelerator import NvdecAccelerator, nvdec_accelerator
from asl.preprocess.gpu.nvdec.decoder import DecodedClip
from asl.preprocess.gpu.nvdec.pictures import SOURCE
from asl.preprocess.gpu.nvdec.stream_format import NvdecError
from asl.preprocess.gpu.nvdec.worker import Where
from asl.preprocess.pipeline import preprocess
from asl.preprocess.sources.raw_files import probe_raw

ROOT = Path(__file__).resolve().parents[3]

#: x264-params of sound clips of 12 frames.
WHOLE = {
    "v0": "", "v1": "cabac=0", "v2": "slices=3", "v3": "bframes=3:b-pyramid=normal", "v4": "keyint=1",
    "v5": "open-gop=1:keyint=5", "v6": "weightp=2", "v7": "qp=40",
}  # fmt: skip

#: Segments of these: the first and the last frame, from 0.
SEGMENTS = {"s0": ("v0", 2, 5), "s1": ("v0", 6, 11), "s2": ("v3", 0, 8), "s3": ("v4", 4, 7)}

#: What the GPU can make.
SOUND = (*WHOLE, *SEGMENTS)

CAPABILITIES = Capabilities(
    gpu=Capability("gpu", True, "a GPU of software"),
    nvdec=Capability("nvdec", True, "did it"),
    nvenc=Capability("nvenc", False, "not made for it"),
    dali=Capability("dali", False, "not made for it"),
    decoders={},
)


@pytest.fixture(scope="module")
def software(tmp_path_factory: pytest.TempPathFactory) -> SoftwareGpu:
    folder = tmp_path_factory.mktemp("kernels")
    kernels, parser = build(SOURCE + _HOST_LAUNCH, folder), HostSliceParser(folder)._library
    return SoftwareGpu(Path(kernels._name), Path(parser._name))


@pytest.fixture
def gpu(software: SoftwareGpu, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftwareGpu]:
    """A GPU whose processes work in this one."""
    software.install(monkeypatch.setattr)
    monkeypatch.setattr(accelerator, "Workers", Pool)
    monkeypatch.setattr(backend, "has_device", lambda: True)
    monkeypatch.setattr(backend, "find_capabilities", lambda **_: CAPABILITIES)
    monkeypatch.setattr(Pool, "calls", [])
    interval = sys.getswitchinterval()  # a process of a GPU sets another one
    yield software
    sys.setswitchinterval(interval)
    forget()


def header(packet: bytes, bits: int) -> bytes:
    """A packet with more bits in the header of its first NAL unit."""
    return packet[:4] + bytes([packet[4] | bits]) + packet[5:]


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw files: sound ones, and each kind that the GPU's parser or decoder does not take."""
    folder = tmp_path_factory.mktemp("raw")
    for name, parameters in WHOLE.items():
        (folder / f"{name}.mp4").write_bytes(encode(parameters, size=(96, 64)))
    (folder / "interlaced.mp4").write_bytes(encode("interlaced=1", size=(96, 64)))

    def write(name: str, change: Callable[[int, bytes], bytes], *, of: str = "v1") -> None:
        rewritten(folder / f"{of}.mp4", folder / f"{name}.mp4", change)

    _, packets = demux((folder / "v1.mp4").read_bytes())
    largest = max(range(1, len(packets)), key=lambda index: len(packets[index]))
    # FFmpeg overlooks it with CABAC.
    write("long_slice", lambda i, packet: longer(packet, b"\x12\x80") if i == 4 else packet, of="v0")
    write("odd_header", lambda i, packet: header(packet, 0x20) if i == 0 else packet)
    write("broken", lambda i, packet: packet[:40] + bytes(len(packet) - 40) if i == largest else packet)
    return folder


# ---------------------------------------------------------------- clips without the rest of a run


def cuts_of(raw: Path, folder: Path, names: Sequence[str], part: Box | None = None) -> list[Cut]:
    cuts = []
    for name in names:
        of, first, last = SEGMENTS.get(name, (name, 0, None))
        source, spec = raw / f"{of}.mp4", FrameSpec()
        start_s, end_s = Fraction(first, 25), None if last is None else Fraction(last + 1, 25)
        made_from = origin(spec, source, float(start_s), None if end_s is None else float(end_s), part)
        cuts.append(
            Cut(
                video_id=name,
                source=source,
                target=folder / "videos" / "train" / "book" / f"{name}.mp4",
                thumbnails=folder / "strips" / f"{name}.jpg",
                start_s=start_s,
                end_s=end_s,
                end_tolerance_s=Fraction(1, 25),
                encoder=x264(crf=20, preset="ultrafast"),
                audio=False,
                frames=FramesRequest(frames_path(folder / "frames", spec, name), spec, made_from),
                raw=probe_raw(source),
            )
        )
    return cuts


@dataclass
class Made:
    """What came of some clips."""

    folder: Path
    results: dict[str, Proof | CutError]
    by_gpu: int
    left: dict[str, int]

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file())

    def told(self) -> dict[str, Any]:
        """The results as plain data, without the folder's name and what only the GPU's parser finds."""
        return {
            name: asdict(replace(result, bitstream=""))
            if isinstance(result, Proof)
            else (result.message.replace(str(self.folder), "DIR"), result.reason)
            for name, result in sorted(self.results.items())
        }


def make(
    raw: Path,
    folder: Path,
    names: Sequence[str] = SOUND,
    *,
    gpus: Sequence[int] = (0,),
    timeout_s: float = 60,
    part: Box | None = None,
) -> Made:
    cuts = cuts_of(raw, folder, names, part)
    with nvdec_accelerator(gpus, timeout_s=timeout_s) as device:
        results = dict_of(device.make_clips(cuts, Pool(2), timeout_s=timeout_s))
        outcome = device.finish({}, Pool(2))
    return Made(folder, results, outcome.published, dict(outcome.reasons))


def make_on_host(raw: Path, folder: Path, names: Sequence[str] = SOUND, *, part: Box | None = None) -> Made:
    cuts = cuts_of(raw, folder, names, part)
    return Made(folder, dict_of(cut_on_host(cuts, Pool(2), timeout_s=60)), 0, {})


@pytest.fixture(scope="module")
def on_host(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What the host makes of all that the GPU can make."""
    return make_on_host(raw, tmp_path_factory.mktemp("host"))


def dict_of(results: Iterator[tuple[Cut, Proof | CutError]]) -> dict[str, Proof | CutError]:
    found = {}
    for cut, result in results:
        assert cut.video_id not in found
        found[cut.video_id] = result
    return found


def assert_same(made: Made, expected: Made) -> None:
    """Same results, the same files, no other, and the same frames but for the GPU's rounding."""
    assert made.told() == expected.told()
    assert made.files() == expected.files()
    for name in expected.files():
        a, b = made.folder / name, expected.folder / name
        if a.suffix == ".mp4":
            assert a.read_bytes() == b.read_bytes()
        elif a.suffix == ".safetensors":
            assert_same_frames(a, b)


def assert_same_frames(a: Path, b: Path) -> None:
    (frames, times, part), (expected, expected_times, expected_part) = open_frames(a), open_frames(b)
    assert part == expected_part
    assert frames.shape == expected.shape
    assert np.array_equal(times, expected_times)
    assert read_origin(a) == read_origin(b)
    assert np.abs(frames.astype(np.int16) - expected).mean() < 0.6


@pytest.mark.usefixtures("gpu")
def test_sound_clips_are_made_by_the_gpu_alone(raw: Path, on_host: Made, tmp_path: Path) -> None:
    made = make(raw, tmp_path / "gpu")
    assert (made.by_gpu, made.left) == (len(SOUND), {})
    assert_same(made, on_host)


@pytest.mark.usefixtures("gpu")
def test_the_gpu_makes_frames_of_a_part_of_the_pictures(raw: Path, tmp_path: Path) -> None:
    part = (8 / 96, 6 / 64, 57 / 96, 51 / 64)
    names = [SOUND[0], next(iter(SEGMENTS))]
    made = make(raw, tmp_path / "gpu", names, part=part)
    assert (made.by_gpu, made.left) == (2, {})
    expected = make_on_host(raw, tmp_path / "host", names, part=part)
    assert_same(made, expected)
    (shape,) = {open_frames(path).frames.shape[1:3] for path in made.folder.rglob("*.safetensors")}
    assert shape == (45, 49)


# ---------------------------------------------------------------- what NVDEC reports


class ReportsDamage(Decoder):
    def decode(self, *arguments: Any, **options: Any) -> DecodedClip:
        return replace(super().decode(*arguments, **options), bad_pictures=(1,))


class ConcealsDamage(Decoder):
    def decode(self, *arguments: Any, **options: Any) -> DecodedClip:
        return replace(super().decode(*arguments, **options), bad_pictures=())


class LosesThePictureAtTheEnd(Decoder):
    def frames(self, *arguments: Any) -> Iterator[Any]:
        yield from list(super().frames(*arguments))[:-1]


class InventsAPicture(Decoder):
    def frames(self, *arguments: Any) -> Iterator[Any]:
        frames = list(super().frames(*arguments))
        yield from [*frames, frames[-1]]


class ShowsInAnotherOrder(Decoder):
    def frames(self, *arguments: Any) -> Iterator[Any]:
        first, second, *rest = super().frames(*arguments)
        yield from [second, first, *rest]


class ShowsAnotherSize(Decoder):
    def decode(self, *arguments: Any, **options: Any) -> DecodedClip:
        return replace(super().decode(*arguments, **options), height=62)


class Refuses(Decoder):
    def decode(self, *arguments: Any, **options: Any) -> DecodedClip:
        raise NvdecError("cannot be decoded on the GPU: CUDA_ERROR_INVALID_IMAGE")


class HasNoMemory(Decoder):
    def decode(self, *arguments: Any, **options: Any) -> DecodedClip:
        raise GpuError("cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY", out_of_memory=True)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        (ReportsDamage, "has pictures that NVDEC reports as damaged"),
        (LosesThePictureAtTheEnd, "gives another number of pictures than it has packets"),
        (InventsAPicture, "gives another number of pictures than it has packets"),
        (ShowsInAnotherOrder, "shows its pictures in another order than its time stamps say"),
        (ShowsAnotherSize, "has pictures of another size than its header says"),
        (Refuses, "cannot be decoded on the GPU: CUDA_ERROR_INVALID_IMAGE"),
        (HasNoMemory, "not enough GPU memory"),
    ],
)
def test_the_host_decides_where_nvdec_gives_something_else(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: type[Decoder], reason: str
) -> None:
    monkeypatch.setattr(clip_decoder, "NvDecoder", decoder)
    names = ("v0", "v1", "v3")
    made = make(raw, tmp_path / "gpu", names)
    assert (made.by_gpu, made.left) == (0, {reason: 3})
    assert_same(made, make_on_host(raw, tmp_path / "host", names))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("decoder", "reason"),
    [(Decoder, "has pictures that NVDEC reports as damaged"), (ConcealsDamage, "bitstream")],
)
def test_a_damaged_clip_gets_the_hosts_error_whether_nvdec_tells_or_not(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: type[Decoder], reason: str
) -> None:
    monkeypatch.setattr(clip_decoder, "NvDecoder", decoder)
    made = make(raw, tmp_path / "gpu", ("v0", "broken"))
    assert made.left == {reason: 1}
    error = made.results["broken"]
    assert isinstance(error, CutError)
    assert str(error).startswith("broken.mp4 cannot be decoded after 0.")
    expected = make_on_host(raw, tmp_path / "host", ("v0", "broken"))
    assert made.told() == expected.told()
    assert left_over(made.folder) == []


@pytest.mark.usefixtures("gpu")
def test_an_unexpected_error_in_one_clip_costs_the_others_nothing(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()

    class RaisesOnce(Decoder):
        def decode(self, *arguments: Any, **options: Any) -> DecodedClip:
            if next(calls) == 2:
                raise ValueError("a bug")
            return super().decode(*arguments, **options)

    monkeypatch.setattr(clip_decoder, "NvDecoder", RaisesOnce)
    made = make(raw, tmp_path / "gpu", tuple(WHOLE))
    assert (made.by_gpu, made.left) == (len(WHOLE) - 1, {"ValueError: a bug": 1})
    assert_same(made, make_on_host(raw, tmp_path / "host", tuple(WHOLE)))


# ---------------------------------------------------------------- faults of a GPU

MAKE, PROVE, WARM_UP = "make_candidates", "prove_candidates", ("warm_up_clips", "warm_up_parser")


def given_to(number: int) -> list[str]:
    """Names of the functions that a GPU was given."""
    return [name for name, task in Pool.calls if name in (MAKE, PROVE, *WARM_UP) and number == gpu_of(task)]


def gpu_of(task: Any) -> int:
    where = task[0] if isinstance(task, tuple) else task
    return where.gpu if isinstance(where, Where) else where


def fault_in(
    monkeypatch: pytest.MonkeyPatch, names: Sequence[str], error: Any, *, times: int = 999, gpu: int = 0
) -> None:
    """Make tasks of a GPU fail, so many times."""
    left = [times]

    def fault(name: str, task: Any) -> Any:
        if name not in names or gpu != gpu_of(task) or not left[0]:
            return None
        left[0] -= 1
        return error

    monkeypatch.setattr(Pool, "fault", staticmethod(fault))


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (GpuError("cuInit: CUDA_ERROR_UNKNOWN"), "GPU 0: GpuError: cuInit: CUDA_ERROR_UNKNOWN"),
        (GpuError("no memory", out_of_memory=True), "GPU 0: GpuError: no memory"),
        (FutureTimeoutError(), "GPU 0: took longer than 60 s"),
        (ProcessExpired("", code=-11), "GPU 0: crashed the decoder (exit code -11)"),
    ],
    ids=["error", "memory", "time limit", "crash"],
)
@pytest.mark.parametrize("names", [(MAKE,), (PROVE,), (MAKE, PROVE, *WARM_UP)], ids=["make", "prove", "all"])
def test_a_gpu_that_fails_costs_no_clip(
    raw: Path,
    on_host: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: tuple[str, ...],
    error: BaseException,
    message: str,
) -> None:
    fault_in(monkeypatch, names, error)
    made = make(raw, tmp_path / "gpu")
    assert (made.by_gpu, made.left) == (0, {message: len(SOUND)})
    assert_same(made, on_host)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("name", [MAKE, PROVE])
def test_after_one_fault_the_gpu_goes_on(
    raw: Path, on_host: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    in_small_steps(monkeypatch)
    fault_in(monkeypatch, (name,), ProcessExpired("", code=3), times=1)
    made = make(raw, tmp_path / "gpu")
    assert 0 < made.by_gpu < len(SOUND)
    assert made.left == {"GPU 0: crashed the decoder (exit code 3)": len(SOUND) - made.by_gpu}
    assert_same(made, on_host)


@pytest.mark.usefixtures("gpu")
def test_after_three_faults_the_gpu_is_given_no_more(
    raw: Path, on_host: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_steps(monkeypatch)
    fault_in(monkeypatch, (MAKE,), GpuError("broken"), times=4)
    made = make(raw, tmp_path / "gpu")
    assert given_to(0).count(MAKE) == 4  # two wait for their turn at any time
    assert made.left == {"GPU 0: GpuError: broken": len(SOUND)}
    assert_same(made, on_host)


@pytest.mark.usefixtures("gpu")
def test_a_gpu_that_fails_in_clip_after_clip_is_given_no_more(
    raw: Path, on_host: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some errors, whatever a process asks of CUDA fails. It would take all clips, for nothing."""

    class Fails(Decoder):
        def decode(self, *arguments: Any, **options: Any) -> DecodedClip:
            raise GpuError("CUDA_ERROR_ILLEGAL_ADDRESS")

    in_small_steps(monkeypatch)
    monkeypatch.setattr(clip_decoder, "NvDecoder", Fails)
    made = make(raw, tmp_path / "gpu")
    assert given_to(0).count(MAKE) == 4
    assert made.by_gpu == 0
    assert_same(made, on_host)


def in_small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process, which gets one clip at a time; two clips are parsed together."""
    monkeypatch.setattr(accelerator, "_MOST_PROCESSES", 1)
    monkeypatch.setattr(accelerator, "_LEAST_UNITS", 1)
    monkeypatch.setattr(accelerator, "_MOST_UNITS", 1)
    for name in ("_LEAST_BATCH", "_MOST_BATCH", "_LAST_BATCH"):
        monkeypatch.setattr(accelerator, name, 2)


@pytest.mark.usefixtures("gpu")
def test_two_gpus_share_the_clips(
    raw: Path, on_host: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_small_steps(monkeypatch)
    made = make(raw, tmp_path / "gpu", gpus=(0, 1))
    for number in (0, 1):
        assert given_to(number).count(MAKE) > 1
        assert set(given_to(number)) == {MAKE, PROVE, *WARM_UP}
    assert (made.by_gpu, made.left) == (len(SOUND), {})
    assert_same(made, on_host)


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("names", [(MAKE,), (PROVE,), (MAKE, PROVE, *WARM_UP)], ids=["make", "prove", "all"])
@pytest.mark.parametrize("broken", [0, 1])
def test_a_gpu_goes_on_without_the_other(
    raw: Path,
    on_host: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: int,
    names: tuple[str, ...],
) -> None:
    in_small_steps(monkeypatch)
    fault_in(monkeypatch, names, GpuError("broken"), gpu=broken)
    made = make(raw, tmp_path / "gpu", gpus=(0, 1))
    assert given_to(1 - broken).count(MAKE) > 2
    assert made.by_gpu > 2
    assert made.left == {f"GPU {broken}: GpuError: broken": len(SOUND) - made.by_gpu}
    assert_same(made, on_host)


@pytest.mark.parametrize(
    ("name", "fault", "most"),
    [(MAKE, "dies", 1), (MAKE, "hangs", 1), (PROVE, "dies", 1), (WARM_UP[0], "dies", 9)],
)
def test_a_process_that_dies_or_hangs_costs_no_clip(
    software: SoftwareGpu,
    raw: Path,
    on_host: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: str,
    most: int,
) -> None:
    """With real processes."""
    in_small_steps(monkeypatch)
    (tmp_path / "faults").mkdir()
    for one in (MAKE, PROVE, *WARM_UP):
        replacement = InProcess(one, software, fault if one == name else "", tmp_path / "faults", most)
        monkeypatch.setattr(accelerator, one, replacement)
    made = make(raw, tmp_path / "gpu", timeout_s=3 if fault == "hangs" else 60)
    assert list((tmp_path / "faults").iterdir())
    assert 0 < sum(made.left.values()) == len(SOUND) - made.by_gpu
    assert made.by_gpu > 0 or name in WARM_UP
    remove_temp_files(made.folder)  # as at the end of a run: the process could not
    assert_same(made, on_host)


def test_threads_of_a_process_do_not_wait_for_one_that_failed(
    gpu: SoftwareGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailsOnce(Decoder):
        left = 1

        def warm_up(self) -> None:
            if FailsOnce.left:
                FailsOnce.left -= 1
                raise GpuError("no session")

    monkeypatch.setattr(clip_decoder, "NvDecoder", FailsOnce)
    forget()
    with pytest.raises(GpuError, match="no session"):
        worker.warm_up_clips(worker.Where(0, 2))
    worker.warm_up_clips(worker.Where(0, 2))


# ---------------------------------------------------------------- a full disk, and Ctrl-C


def disk_full() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


def fill_disk(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise disk_full()

    def on(method: str, suffix: str) -> None:
        usual = getattr(Path, method)

        def checked(path: Path, *arguments: Any) -> Any:
            file = arguments[0] if method == "replace" else path
            return fail() if file.suffix == suffix else usual(path, *arguments)

        monkeypatch.setattr(Path, method, checked)

    match at:
        case "clip":
            for module in (stream_copy, encode_module):
                monkeypatch.setattr(module, "create_mp4", full_mp4)
        case "thumbnails":
            monkeypatch.setattr(proof_module, "atomic_write", fail)
        case "frames":
            for module in (candidate, frame_collector):
                monkeypatch.setattr(module, "write_frames", fail)
        case "publishing frames":
            on("replace", ".safetensors")
        case "publishing a clip":
            on("replace", ".mp4")
        case "slices":
            on("write_bytes", ".slices")


def full_mp4(_: Path) -> Any:
    raise VideoError("cannot be written as a clip: No space left on device", "not writable")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("at", ["clip", "thumbnails", "frames", "publishing frames", "publishing a clip"])
def test_a_full_disk_gives_the_hosts_error_and_leaves_no_temporary_file(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    fill_disk(monkeypatch, at)
    made = make(raw, tmp_path / "gpu", ("v0", "v1"))
    expected = make_on_host(raw, tmp_path / "host", ("v0", "v1"))
    assert all(isinstance(result, CutError) for result in made.results.values())
    assert all("No space left on device" in str(result) for result in made.results.values())
    assert made.told() == expected.told()
    assert left_over(made.folder) == []
    assert (made.by_gpu, sum(made.left.values())) == (0, 2)
    if at != "frames":  # where the thumbnails are written before
        assert made.files() == expected.files()


@pytest.mark.usefixtures("gpu")
def test_where_only_the_slices_find_no_space_the_host_makes_the_clip(
    raw: Path, on_host: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_disk(monkeypatch, "slices")
    made = make(raw, tmp_path / "gpu")
    assert made.left == {"not writable: No space left on device": len(SOUND)}
    assert_same(made, on_host)


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if PART in path.name or path.suffix == ".slices"]


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("taken", [1, 3, 5])
@pytest.mark.parametrize("batch", [2, 128])
def test_clips_that_nobody_waits_for_leave_no_file(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int, taken: int
) -> None:
    for name in ("_LEAST_BATCH", "_MOST_BATCH", "_LAST_BATCH"):
        monkeypatch.setattr(accelerator, name, batch)
    cuts = cuts_of(raw, tmp_path, SOUND)
    with nvdec_accelerator((0,), timeout_s=60) as device:
        results = device.make_clips(cuts, Pool(2), timeout_s=60)
        ended = [cut for cut, _ in itertools.islice(results, taken)]
        results.close()  # type: ignore[attr-defined]
    assert left_over(tmp_path) == []
    made = {path.stem for path in tmp_path.rglob("*.mp4")}
    assert made == {cut.video_id for cut in ended}


@pytest.mark.usefixtures("gpu")
def test_tasks_that_nobody_waits_for_are_cancelled(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: Future[Any] = Future()
    monkeypatch.setattr(
        Pool, "fault", staticmethod(lambda name, _: waiting if name == "make_clips" else None)
    )
    cuts = cuts_of(raw, tmp_path, ("v0", "interlaced"))  # the second is the host's
    with nvdec_accelerator((0,), timeout_s=60) as device:
        results = device.make_clips(cuts, Pool(2), timeout_s=60)
        assert next(results)[0].video_id == "v0"
        results.close()  # type: ignore[attr-defined]
    assert waiting.cancelled()


# ---------------------------------------------------------------- whole runs


@pytest.fixture
def run(gpu: SoftwareGpu, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs on the raw files, within this process."""
    monkeypatch.setattr(pipeline, "Workers", Pool)
    return Run(raw, tmp_path)


@dataclass
class Run:
    """A data folder for each backend."""

    raw: Path
    folder: Path

    def __call__(self, name: str, *, overwrite: bool = False, data: str | None = None) -> Path:
        data_dir = self.folder / (data or name)
        if not data_dir.exists():
            (data_dir / "metadata").mkdir(parents=True)
            (data_dir / "raw").symlink_to(self.raw)
            spans = {path.stem: (path.stem, 0, -2) for path in sorted(self.raw.iterdir())} | SEGMENTS
            rows = [
                {"gloss": "book", "split": "train", "video_id": video_id, "fps": 25}
                | {"url": f"http://x.example/{of}.mp4", "frame_start": first + 1, "frame_end": last + 1}
                for video_id, (of, first, last) in spans.items()
            ]
            (data_dir / "metadata" / "small.json").write_text(json.dumps(rows))
        config = settings_for(data_dir, "small", name)
        config.overwrite = overwrite
        Pool.calls.clear()
        preprocess(config)
        return data_dir


def settings_for(data_dir: Path, dataset: str, trim: str) -> PreprocessConfig:
    metadata = data_dir / "metadata"
    lengths = metadata / f"{dataset}_lengths.json"
    return PreprocessConfig(
        paths=Paths.below(data_dir),
        dataset=Wlasl(
            name=dataset,
            root=str(data_dir / "raw"),
            metadata=str(metadata / f"{dataset}.json"),
            lengths=str(lengths) if lengths.exists() else None,
        ),
        trim=TrimSettings(name=trim, gpus=[0]),
        probe=0,
    )


def written(data_dir: Path, dataset: str = "small") -> dict[str, str]:
    names = (f"{dataset}_manifest.csv", f"{dataset}_preprocess_errors.csv", f"{dataset}_audit.json")
    return {name: (data_dir / "metadata" / name).read_text() for name in names}


def summary(data_dir: Path) -> dict[str, Any]:
    (path,) = (data_dir / "metadata").glob("*_preprocess_summary.json")
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def proofs(data_dir: Path) -> dict[str, dict[str, Any]]:
    lines = (data_dir / "metadata" / "clip_proofs.jsonl").read_text().splitlines()
    return {entry["video_id"]: entry["proof"] for entry in map(json.loads, lines)}


def test_what_only_the_gpus_parser_refuses_is_made_by_the_host_and_flagged(run: Run) -> None:
    on_host, on_gpu = run("cpu"), run("nvdec")
    expected, found = proofs(on_host), proofs(on_gpu)
    flags = {video_id: proof.pop("bitstream") for video_id, proof in found.items()}
    for proof in expected.values():
        assert proof.pop("bitstream") == ""
    assert found == expected
    assert set(found) == {*SOUND, "interlaced", "long_slice", "odd_header"}
    assert {video_id for video_id, flag in flags.items() if flag} == {"long_slice", "odd_header"}
    assert flags["long_slice"].startswith("picture 4, slice 0, ")
    assert "nal_ref_idc" in flags["odd_header"]
    assert summary(on_gpu)["frames"]["gpu"] == len(SOUND)
    assert summary(on_gpu)["frames"]["refused_by_gpu"] == {
        "bitstream": 2,
        "the parser does not know interlaced pictures": 1,
        "has pictures that NVDEC reports as damaged": 1,
    }
    errors = Paths.below(on_gpu).errors("small").read_text()
    assert "broken" in errors
    assert errors == Paths.below(on_host).errors("small").read_text()

    run("nvdec")
    assert summary(on_gpu)["reused"] == len(found)
    assert {video_id: proof["bitstream"] for video_id, proof in proofs(on_gpu).items()} == flags
    run("cpu", data="nvdec")
    assert {video_id: proof["bitstream"] for video_id, proof in proofs(on_gpu).items()} == flags


def test_a_run_with_nothing_to_make_does_not_wait_for_the_gpu(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir = run("nvdec")
    clips = read_manifest(data_dir / "metadata" / "small_manifest.csv")
    before = written(data_dir)
    fault_in(monkeypatch, WARM_UP, Future())  # never ends
    run("nvdec")
    assert PROVE not in given_to(0)
    assert summary(data_dir)["reused"] == len(clips)
    assert written(data_dir) == before


def test_frames_that_are_missing_later_are_made_on_the_host(run: Run) -> None:
    data_dir = run("nvdec")
    spec = FrameSpec()
    paths = [frames_path(data_dir / "frames", spec, video_id) for video_id in ("v0", "v3")]
    kept = [open_frames(path)[0].copy() for path in paths]
    for path in paths:
        path.unlink()
    run("nvdec")
    told = summary(data_dir)["frames"]
    assert (told["host"], told["gpu"]) == (2, 0)
    for path, before in zip(paths, kept, strict=True):
        assert np.abs(open_frames(path)[0].astype(int) - before).mean() < 0.6


@pytest.mark.parametrize("step", ["candidates", "verdicts", "publishing", "host"])
def test_ctrl_c_leaves_no_temporary_file_and_the_next_run_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def interrupted(*_: object, **__: object) -> Any:
        raise KeyboardInterrupt

    in_small_steps(monkeypatch)
    method = {"candidates": "_made", "verdicts": "_judged", "publishing": "_publish", "host": "_by_host"}
    with monkeypatch.context() as patch:
        patch.setattr(NvdecAccelerator, method[step], interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("nvdec")
    assert left_over(run.folder / "nvdec") == []
    data_dir = run("nvdec")
    assert proofs(data_dir).keys() == {*SOUND, "interlaced", "long_slice", "odd_header"}
    assert left_over(data_dir) == []


@pytest.mark.usefixtures("gpu")
def test_the_demo_comes_out_as_with_the_cpu(demo_dir: Path, tmp_path: Path) -> None:
    for name in ("cpu", "nvdec"):
        (tmp_path / name / "metadata").mkdir(parents=True)
        (tmp_path / name / "raw").symlink_to(demo_dir / "raw")
        for file in ("demo.json", "demo_lengths.json"):
            shutil.copy(demo_dir / "metadata" / file, tmp_path / name / "metadata")
        preprocess(settings_for(tmp_path / name, "demo", name))
    assert written(tmp_path / "nvdec", "demo") == written(tmp_path / "cpu", "demo")
    clips = read_manifest(tmp_path / "nvdec" / "metadata" / "demo_manifest.csv")
    for clip in clips:
        by_host, by_gpu = (
            frames_path(tmp_path / name / "frames", FrameSpec(), clip.video_id) for name in ("cpu", "nvdec")
        )
        assert_same_frames(by_gpu, by_host)
        numbers = [[read_frame_number(frame) for frame in open_frames(path)[0]] for path in (by_gpu, by_host)]
        assert numbers[0] == numbers[1]
    told = summary(tmp_path / "nvdec")["frames"]
    assert told["gpu"] > told["host"] > 0
    assert told["gpu"] + told["host"] == len(clips)
    assert told["failed"] == {}
    assert {"turned picture", "codec mpeg4", "codec vp9", "unreadable header"} < set(told["refused_by_gpu"])
    assert left_over(tmp_path / "nvdec") == []


def test_a_run_on_the_cpu_imports_nothing_of_cuda(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "raw").mkdir()
    shutil.copy(raw / "v0.mp4", tmp_path / "raw")
    row = {"gloss": "book", "split": "train", "video_id": "v0", "url": "http://x.example/v0.mp4", "fps": 25}
    (tmp_path / "metadata" / "small.json").write_text(json.dumps([row | {"frame_start": 1, "frame_end": -1}]))
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from asl.preprocess.pipeline import preprocess
from asl.preprocess.config import PreprocessConfig
from asl.contract.paths import Paths
from asl.datasets.wlasl import Wlasl
from asl.preprocess.clips.backend import TrimSettings

if __name__ == "__main__":
    folder = Path({str(tmp_path)!r})
    dataset = Wlasl(name="small", root=str(folder / "raw"), metadata=str(folder / "metadata" / "small.json"))
    trim = TrimSettings(name="cpu", workers=1)
    preprocess(PreprocessConfig(paths=Paths.below(folder), dataset=dataset, trim=trim, probe=0))
    print("loaded:", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stdout.splitlines() if line.startswith("loaded: ")]
    assert set(line.split()) & {"cuda", "nvidia", "torch"} == set()
    assert "asl" in line.split()


@pytest.mark.parametrize(
    ("cores", "gpus", "free_bytes", "processes"),
    [(16, 1, 80e9, 10), (16, 2, 80e9, 6), (4, 1, 80e9, 3), (2, 4, 80e9, 1), (16, 1, 4e9, 4),
     (16, 1, 0.1e9, 1), (16, 1, None, 10)],
)  # fmt: skip
def test_processes_fit_the_cores_and_the_gpus_memory(
    monkeypatch: pytest.MonkeyPatch, cores: int, gpus: int, free_bytes: float | None, processes: int
) -> None:
    monkeypatch.setattr(accelerator, "available_cores", lambda: cores)
    monkeypatch.setattr(
        accelerator, "least_free_bytes", lambda: None if free_bytes is None else int(free_bytes)
    )
    assert accelerator.processes_for_each(gpus) == processes
