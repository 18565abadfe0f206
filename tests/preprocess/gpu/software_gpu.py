"""A GPU made of software: PyAV stands for NVDEC, and the kernels and the parser are a host compiler's builds.

It replaces the classes that talk to the driver; all code above them runs as it is, in this process
(:class:`Pool`) or in processes of their own (:class:`InProcess`).
"""

from __future__ import annotations

import ctypes
import os
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import av
import numpy as np

from asl.preprocess.gpu.nvdec import clip_decoder, worker
from asl.preprocess.gpu.nvdec.decoder import DecodedClip, MappedPicture
from asl.workers import Workers
from benchmarks.host_parser import HostSliceParser

_KERNELS_KEEP_THEIR_INDICES_IN_GLOBALS = Lock()


@dataclass(frozen=True)
class SoftwareGpu:
    """What replaces a GPU. It can be sent to another process.

    Attributes:
        kernels: shared library of ``pictures.cu`` with the functions ``run_NAME``.
        parser: shared library of the slice parser.
    """

    kernels: Path
    parser: Path

    def install(self, put: Callable[[Any, str, Any], None] = setattr) -> None:
        """Put the stand-ins in place, with ``setattr`` or ``monkeypatch.setattr``."""
        kernels, parser = ctypes.CDLL(str(self.kernels)), ctypes.CDLL(str(self.parser))
        put(worker, "Device", lambda number: Device(number, kernels))
        put(worker, "GpuSliceParser", lambda _: HostSliceParser(parser))
        put(clip_decoder, "NvDecoder", Decoder)
        put(clip_decoder, "DeviceBuffer", Memory)
        put(clip_decoder, "PinnedBuffer", Memory)
        forget()


def forget() -> None:
    """Let the next task make its decoders anew, as in a new process."""
    worker._clip_threads.cache_clear()
    worker._slice_parser.cache_clear()


class Device:
    def __init__(self, number: int, kernels: ctypes.CDLL) -> None:
        self.number, self._library = number, kernels

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def download(self, pointer: int, _: object, *, into: np.ndarray) -> None:
        ctypes.memmove(into.ctypes.data, pointer, into.nbytes)

    def compile(self, _: str, kernels: Sequence[str]) -> dict[str, Kernel]:
        return {name: Kernel(self._library[f"run_{name}"]) for name in kernels}


class Kernel:
    """Runs when it is launched, thread after thread; one whose threads need each other has one thread."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def prepare(self, grid: Any, block: Any, arguments: Sequence[Any]) -> Prepared:
        return Prepared(self, grid, block, arguments)

    def launch(self, grid: Any, block: Any, arguments: Sequence[Any], _: object) -> None:
        if "grey_cells" in self._function.__name__:
            block = (1, 1)
        with _KERNELS_KEEP_THEIR_INDICES_IN_GLOBALS:
            self._function((ctypes.c_int * 4)(*grid, *block), *arguments)


@dataclass(frozen=True)
class Prepared:
    kernel: Kernel
    grid: Any
    block: Any
    values: Sequence[Any]

    def launch(self, stream: object) -> None:
        self.kernel.launch(self.grid, self.block, self.values, stream)


class Memory:
    """The device's memory, and pinned memory."""

    def __init__(self, _: Device, nbytes: int) -> None:
        self.nbytes, self.array = nbytes, np.full(nbytes, 0xCC, np.uint8)
        self.pointer = self.array.ctypes.data

    def download(self, _: object, nbytes: int, *, into: np.ndarray) -> np.ndarray:
        into[:nbytes] = self.array[:nbytes]
        return into[:nbytes]

    def free(self) -> None:
        self.array = self.array[:0]


class Decoder:
    """Decodes as NVDEC does: damage is concealed, and pictures lie in padded surfaces that are used again."""

    def __init__(self, device: Device) -> None:
        self.device, self.stream = device, object()

    def warm_up(self) -> None: ...

    def decode(
        self,
        packets: Sequence[bytes],
        codec: str,
        on_picture: Callable[[MappedPicture], None],
        *,
        wanted: Callable[[int], bool],
    ) -> DecodedClip:
        count, bad, width, height = 0, [], 0, 0
        for frame in self.frames(packets, codec):
            width, height = frame.width, frame.height
            if frame.is_corrupt:
                bad.append(count)
            if wanted(count):
                with_surface(frame, count, on_picture)
            count += 1
        return DecodedClip(count, tuple(bad), width, height, 2, False)

    def frames(self, packets: Sequence[bytes], codec: str) -> Iterator[av.VideoFrame]:
        """Pictures in display order; ``pts`` is the index of the packet."""
        context: Any = av.CodecContext.create(codec, "r")
        context.thread_count, context.options = 1, {"strict": "1"}  # strict: never in a wrong order
        for index, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = index
            yield from context.decode(packet)
        yield from context.decode(None)


def with_surface(frame: av.VideoFrame, index: int, on_picture: Callable[[MappedPicture], None]) -> None:
    """Call ``on_picture`` with the NV12 surface of a frame, which is overwritten afterwards."""
    planes = [
        np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]
    height, width = frame.height, frame.width
    rows, pitch = -(-height // 16) * 16, -(-width // 256) * 256
    surface = np.full((rows + rows // 2, pitch), 0xCC, np.uint8)
    surface[:height, :width] = planes[0][:height]
    chroma = surface[rows : rows + height // 2, :width]
    chroma[:, 0::2], chroma[:, 1::2] = (plane[: height // 2] for plane in planes[1:])
    assert frame.pts is not None
    on_picture(MappedPicture(index, frame.pts, surface.ctypes.data, pitch, rows * pitch, width, height))
    surface.fill(0xEE)


# ---------------------------------------------------------------- processes


class Pool(Workers):
    """Stands for worker processes: does each task in this one when it is scheduled.

    Tasks and results are pickled, as between processes.

    Attributes:
        fault: called with the name of the function and the task; what it returns is the task's error. A
            future takes the place of the task's.
        calls: names of the functions and tasks.
    """

    fault: ClassVar[Callable[[str, Any], BaseException | Future[Any] | None]] = staticmethod(lambda *_: None)
    calls: ClassVar[list[tuple[str, Any]]] = []

    def __init__(self, count: int = 2, **_: object) -> None:
        self.count, self.required = count, False

    def stop(self) -> None: ...

    def end(self) -> None: ...

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None: ...

    def schedule(self, function: Any, task: Any, *, timeout_s: float | None) -> Future[Any]:
        future: Future[Any] = Future()
        name = getattr(function, "func", function).__name__  # of a partial, what it calls
        self.calls.append((name, task))
        fault = type(self).fault(name, task)
        if isinstance(fault, Future):
            return fault
        try:
            if fault is not None:
                raise fault
            future.set_result(pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(task))))))
        except Exception as error:
            future.set_exception(error)
        return future

    def run_each(self, function: Any, tasks: Sequence[Any], *, timeout_s: float | None = None) -> Any:
        return [
            self.ended(self.schedule(function, task, timeout_s=timeout_s), task, timeout_s) for task in tasks
        ]


@dataclass(frozen=True)
class InProcess:
    """A function of :mod:`asl.preprocess.gpu.nvdec.worker` for a process without GPU.

    Attributes:
        name: of the function.
        gpu: what replaces the GPU.
        fault: "dies" or "hangs"; "": works.
        faults: folder with a file for each fault so far.
        most: so many faults at most.
    """

    name: str
    gpu: SoftwareGpu
    fault: str
    faults: Path
    most: int

    def __call__(self, task: Any) -> Any:
        if worker.Device is not _INSTALLED:
            self.gpu.install()
            globals()["_INSTALLED"] = worker.Device
        if self.fault and self._is_next():
            if self.fault == "dies":
                os._exit(3)
            time.sleep(600)
        return getattr(worker, self.name)(task)

    def _is_next(self) -> bool:
        for number in range(self.most):
            try:
                (self.faults / str(number)).touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False


_INSTALLED: Any = None


def rewritten(path: Path, target: Path, change: Callable[[int, bytes], bytes]) -> Path:
    """Copy an MP4 with other bytes in its packets; ``change`` gets each one's index in decoding order."""
    with av.open(str(path)) as container, av.open(str(target), "w", format="mp4") as output:
        stream = container.streams.video[0]
        copied = output.add_stream_from_template(stream)
        for index, packet in enumerate(p for p in container.demux(stream) if p.size):
            other = av.Packet(change(index, bytes(packet)))
            other.pts, other.dts, other.duration = packet.pts, packet.dts, packet.duration
            other.time_base, other.is_keyframe, other.stream = packet.time_base, packet.is_keyframe, copied
            output.mux(other)
    return target


def longer(packet: bytes, tail: bytes) -> bytes:
    """A packet of one NAL unit with bytes appended to it."""
    assert int.from_bytes(packet[:4], "big") == len(packet) - 4
    return (len(packet) - 4 + len(tail)).to_bytes(4, "big") + packet[4:] + tail
