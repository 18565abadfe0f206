"""Checks of single abilities of a GPU. Run them only in worker processes: drivers crash and hang.

Each check does the thing itself. What a library lists proves nothing, as it lists what it was built with:
FFmpeg lists h264_nvenc also on cards without an encoder.
"""

from __future__ import annotations

import ctypes
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel

from asl.codecs.encoder import ffmpeg_log
from asl.preprocess.gpu.h264.bitstream import to_annex_b
from asl.preprocess.gpu.nvenc import all_sessions_taken, nvenc

#: Codecs of raw videos: for each an encoder of PyAV, its options and a container.
CODECS: dict[str, tuple[str, dict[str, str], str]] = {
    "h264": ("libx264", {}, "mp4"),
    "hevc": ("libx265", {"x265-params": "log-level=none"}, "mp4"),
    "vp8": ("libvpx", {}, "matroska"),
    "vp9": ("libvpx-vp9", {}, "matroska"),
    "av1": ("libsvtav1", {}, "mp4"),
    "mpeg4": ("mpeg4", {}, "mp4"),
}

_FRAMES = 5
_SIDE = 256  # pixels; GPUs decode VP9 from 128x128 and encode H.264 from about 145x49

_GET_DRIVER = "install NVIDIA's driver; a container sees it if it is started with --gpus all"
_USE_CPU = "use trim=auto or trim=cpu"
GET_DALI = "make install dali=1, or pip install 'asl[dali]'"
GET_NVDEC = "make install gpu=1, or pip install 'asl[gpu]'"


@dataclass(frozen=True)
class Capability:
    """Whether a machine can do one thing, and why not."""

    name: str
    works: bool
    detail: str  # what was found; if it does not work, the cause
    remedy: str = ""  # what to do if it does not work


def check(name: str) -> Capability:
    """Try one thing. Can crash or hang with the driver.

    Args:
        name: ``gpu``, ``nvdec``, ``nvenc``, ``dali`` or one of :data:`CODECS`.
    """
    checks: dict[str, Callable[[], Capability]] = {
        "gpu": _gpu,
        "nvdec": _nvdec,
        "nvdec libraries": _nvdec_libraries,
        "nvenc": _nvenc,
        "dali": _dali,
    }
    return checks.get(name, partial(_decoder, name))()


def _gpu() -> Capability:
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Capability("gpu", False, "NVIDIA's driver (libcuda.so.1) is not installed", _GET_DRIVER)
    status, count = cuda.cuInit(0), ctypes.c_int(0)
    if status == 0:
        status = cuda.cuDeviceGetCount(ctypes.byref(count))
    if status == 100 or (status == 0 and not count.value):  # CUDA_ERROR_NO_DEVICE
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
        why = "" if hidden is None else f" (CUDA_VISIBLE_DEVICES={hidden!r})"
        return Capability("gpu", False, f"the driver shows no GPU{why}", "see what nvidia-smi says")
    name = ctypes.create_string_buffer(100)
    status = status or cuda.cuDeviceGetName(name, len(name), 0)
    if status:
        remedy = "see what nvidia-smi says; after an update of the driver, restart the machine"
        return Capability("gpu", False, f"the driver fails with CUDA error {status}", remedy)
    others = f", one of {count.value}" if count.value > 1 else ""
    return Capability("gpu", True, f"{name.value.decode(errors='replace')}{others}, {_driver(cuda)}")


def _driver(cuda: Any) -> str:
    version = ctypes.c_int(0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    has = f"CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    try:
        said = Path("/proc/driver/nvidia/version").read_text()
    except OSError:  # as in WSL
        return has
    found = re.search(r"\s(\d+\.\d+(\.\d+)?)\s", said)
    return f"driver {found[1]}, {has}" if found else has


def _nvdec() -> Capability:
    """All that ``trim=nvdec`` needs: the decoder, and NVRTC for its kernels."""
    from asl.preprocess.gpu.cuda import Device, GpuError
    from asl.preprocess.gpu.nvdec.decoder import NvDecoder
    from asl.preprocess.gpu.nvdec.pictures import KERNELS, SOURCE
    from asl.preprocess.gpu.nvdec.stream_format import NvdecError

    with av.open(io.BytesIO(tiny_clip("h264"))) as container:
        extradata = container.streams.video[0].codec_context.extradata or b""
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    try:
        device = Device(0)
        device.compile(SOURCE, KERNELS)
        with NvDecoder(device) as decoder:
            clip = decoder.decode(to_annex_b(extradata, packets), "h264", lambda _: None)
    except (GpuError, NvdecError) as error:
        said = " ".join(str(error).split())[:300]
        return Capability("nvdec", False, said, GET_NVDEC if "cuda-bindings" in said else _USE_CPU)
    if clip.num_pictures != _FRAMES or clip.bad_pictures:
        return Capability("nvdec", False, f"gave {clip.num_pictures} pictures instead of {_FRAMES}", _USE_CPU)
    return Capability("nvdec", True, f"NVDEC decoded {_FRAMES} pictures of H.264")


def _nvdec_libraries() -> Capability:
    """Whether all libraries that ``trim=nvdec`` needs can be loaded. Uses no GPU, so it is quick."""
    from asl.preprocess.gpu.cuda_calls import GpuError, load_libraries
    from asl.preprocess.gpu.nvdec import cuvid

    try:
        load_libraries()
        cuvid.library()
    except GpuError as error:
        said = " ".join(str(error).split())[:300]
        return Capability("nvdec", False, said, GET_NVDEC if "cuda-bindings" in said else _USE_CPU)
    return Capability("nvdec", True, "NVDEC's and CUDA's libraries are there")


def _nvenc() -> Capability:
    encoder = nvenc(cq=23, session_timeout_s=0)
    with ffmpeg_log() as log:
        try:
            context: Any = av.CodecContext.create(encoder.name, "w")
            context.width = context.height = _SIDE
            context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
            context.options = dict(encoder.options)
            context.open()
            packets = [*context.encode(_picture(0)), *context.encode(None)]
        except (av.FFmpegError, ValueError) as error:
            said = log[-1][2].strip() if log else str(getattr(error, "strerror", None) or error)
            return without_encoder([message for _, _, message in log] or [said])
    if not packets:
        return Capability("nvenc", False, "the encoder gave nothing", _USE_CPU)
    return Capability("nvenc", True, "h264_nvenc encoded a frame")


def without_encoder(log: list[str]) -> Capability:
    """The capability of a GPU whose encoder could not be opened, from the lines of FFmpeg's log."""
    lines = [line.strip() for line in log]
    if all_sessions_taken(lines):
        return Capability("nvenc", True, "h264_nvenc is there; all its sessions are taken at the moment")
    text = " ".join(lines)
    if "unsupported device" in text:
        return Capability(
            "nvenc",
            False,
            "this card has no video encoder",
            f"{_USE_CPU}, or a card that has one (GeForce, RTX, T4, L4, L40; not A100, H100, H200)",
        )
    if "libnvidia-encode" in text:
        remedy = "in a container, set NVIDIA_DRIVER_CAPABILITIES=compute,video,utility; else reinstall it"
        return Capability("nvenc", False, "the driver's libnvidia-encode.so.1 is not there", remedy)
    if "Cannot load libcuda" in text:
        return Capability("nvenc", False, "NVIDIA's driver (libcuda.so.1) is not installed", _GET_DRIVER)
    if "API version" in text or "minimum required Nvidia driver" in text:
        return Capability("nvenc", False, f"the driver is too old ({lines[-1]})", "update NVIDIA's driver")
    return Capability("nvenc", False, f"h264_nvenc cannot be opened: {lines[0]}", _USE_CPU)


def _decoder(codec: str) -> Capability:
    data = tiny_clip(codec)
    with av.open(io.BytesIO(data)) as container:
        used = container.streams.video[0].codec_context.codec
        if not any(config.device_type.name == "cuda" for config in used.hardware_configs):
            return Capability(codec, False, f"PyAV decodes it with {used.name}, which uses no GPU")
    with ffmpeg_log() as log:
        try:
            hwaccel = HWAccel("cuda", allow_software_fallback=False)
            with av.open(io.BytesIO(data), hwaccel=hwaccel) as container:
                frames = list(container.decode(video=0))
        except (av.FFmpegError, ValueError, RuntimeError, NotImplementedError) as error:
            said = log[0][2].strip() if log else str(getattr(error, "strerror", None) or error)
            return Capability(codec, False, said)
    if len(frames) != _FRAMES or any(frame.width != _SIDE for frame in frames):
        return Capability(codec, False, f"gave {len(frames)} frames instead of {_FRAMES}")
    if any(frame.pts is None or not frame.duration for frame in frames):  # then a cut would not be exact
        return Capability(codec, False, f"PyAV {av.__version__} loses frames' times on the GPU", "update av")
    return Capability(codec, True, f"decoded {len(frames)} frames")


def _dali() -> Capability:
    try:
        from nvidia.dali import __version__, fn, pipeline_def
    except ImportError as error:
        installed = not isinstance(error, ModuleNotFoundError)
        cause = f"nvidia-dali cannot be imported: {error}" if installed else "nvidia-dali is not installed"
        return Capability("dali", False, cause, GET_DALI)
    import numpy as np

    clip = np.frombuffer(tiny_clip("h264"), np.uint8)

    @pipeline_def(batch_size=1, num_threads=1, device_id=0)
    def frames() -> Any:
        encoded = fn.external_source(source=lambda: [clip], batch=True)
        return fn.decoders.video(encoded, device="mixed", frames=[0, _FRAMES - 1])

    try:
        pipeline = frames()
        pipeline.build()
        (decoded,) = pipeline.run()
        shape = decoded.as_cpu().at(0).shape
    except (RuntimeError, AttributeError) as error:
        said = " ".join(str(error).split())[:300]  # DALI's messages have many lines
        return Capability("dali", False, f"nvidia-dali {__version__} fails: {said}", _USE_CPU)
    if shape != (2, _SIDE, _SIDE, 3):
        return Capability("dali", False, f"nvidia-dali {__version__} gave frames of shape {shape}")
    return Capability("dali", True, f"nvidia-dali {__version__} decoded H.264")


def tiny_clip(codec: str) -> bytes:
    """A file of a few grey frames, 256 pixels wide and high, in one of :data:`CODECS`."""
    name, options, form = CODECS[codec]
    os.environ.setdefault("SVT_LOG", "0")  # else it prints a page on stderr
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        stream: Any = container.add_stream(name, rate=25, options=options)  # type: ignore[call-overload]
        stream.width = stream.height = _SIDE
        stream.pix_fmt = "yuv420p"
        for index in range(_FRAMES):
            container.mux(stream.encode(_picture(index)))
        container.mux(stream.encode(None))
    return file.getvalue()


def _picture(index: int) -> av.VideoFrame:
    frame = av.VideoFrame(_SIDE, _SIDE, "yuv420p")
    for plane in frame.planes:
        plane.update(bytes([60 + 20 * index]) * plane.buffer_size)
    frame.pts, frame.time_base = index, Fraction(1, 25)
    return frame
