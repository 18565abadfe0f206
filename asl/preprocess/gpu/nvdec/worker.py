"""What the processes that drive a GPU run: make clips in threads, and parse the slices of many clips."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from asl.preprocess.clips.plan import Cut
from asl.preprocess.gpu.cuda import Device
from asl.preprocess.gpu.h264.bitstream import Bitstream
from asl.preprocess.gpu.h264.prover import GpuSliceParser, prove
from asl.preprocess.gpu.h264.verdict import Verdict
from asl.preprocess.gpu.nvdec.candidate import Candidate, CandidateMaker, Refusal
from asl.preprocess.gpu.nvdec.pictures import KERNELS, SOURCE

#: Threads of a process that makes clips, each with an NVDEC session of its own. More processes with fewer
#: threads wait less for Python's lock, but each needs a CUDA context (benchmarks/README.md).
THREADS = 4


class _ClipThreads:
    """The threads of a process that makes clips."""

    def __init__(self, gpu: int) -> None:
        self._device = Device(gpu)
        self._kernels = self._device.compile(SOURCE, KERNELS)
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(THREADS)

    def make(self, cuts: Sequence[Cut]) -> list[Candidate | Refusal]:
        return list(self._pool.map(self._make, cuts))

    def warm_up(self) -> None:
        """Give each thread its NVDEC session before there is work."""
        ready = threading.Barrier(THREADS)  # so that each thread gets one of the calls

        def prepare(_: int) -> None:
            self._maker().warm_up()
            ready.wait()

        list(self._pool.map(prepare, range(THREADS)))

    def _make(self, cut: Cut) -> Candidate | Refusal:
        return self._maker().make(cut)

    def _maker(self) -> CandidateMaker:
        if not hasattr(self._own, "maker"):
            self._own.maker = CandidateMaker(self._device, self._kernels)
        maker: CandidateMaker = self._own.maker
        return maker


@lru_cache(maxsize=1)
def _clip_threads(gpu: int) -> _ClipThreads:
    return _ClipThreads(gpu)


@lru_cache(maxsize=1)
def _slice_parser(gpu: int) -> GpuSliceParser:
    return GpuSliceParser(Device(gpu))


def warm_up_clips(gpu: int) -> None:
    """Prepare a process that makes clips. Raises GpuError if the GPU cannot be used."""
    _clip_threads(gpu).warm_up()


def warm_up_parser(gpu: int) -> None:
    """Prepare the process that parses slices. Raises GpuError if the GPU cannot be used."""
    _slice_parser(gpu)


def make_candidates(task: tuple[int, tuple[Cut, ...]]) -> list[Candidate | Refusal]:
    """Make clips on the GPU of that number."""
    gpu, cuts = task
    return _clip_threads(gpu).make(cuts)


def prove_candidates(task: tuple[int, tuple[tuple[Path, Bitstream], ...]]) -> list[Verdict]:
    """Judge streams on the GPU of that number.

    Args:
        task: the GPU, and for each stream the file with its data and the stream without them.
    """
    gpu, streams = task
    with_data = [replace(stream, data=path.read_bytes()) for path, stream in streams]
    return prove(with_data, _slice_parser(gpu))
