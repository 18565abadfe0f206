"""What the processes that drive a GPU run: make clips in threads, and parse the slices of many clips."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice

from asl.preprocess.clips.plan import Cut
from asl.preprocess.gpu.cuda import Device
from asl.preprocess.gpu.h264.prover import GpuSliceParser, in_groups, prove
from asl.preprocess.gpu.h264.verdict import Verdict
from asl.preprocess.gpu.nvdec.candidate import Candidate, CandidateMaker, Refusal, StoredStream
from asl.preprocess.gpu.nvdec.pictures import KERNELS, SOURCE
from asl.preprocess.gpu.nvdec.segments import SegmentMaker

#: How long a thread may keep Python's lock while others wait. NVDEC's callbacks need the lock some 150 times
#: a clip, and would wait up to 5 ms each time by default.
_SWITCH_S = 0.0002


@dataclass(frozen=True)
class Where:
    """Where a process makes clips."""

    gpu: int  # number, as CUDA counts
    threads: int  # each with an NVDEC session of its own


class _ClipThreads:
    """The threads of a process that makes clips."""

    def __init__(self, where: Where) -> None:
        sys.setswitchinterval(_SWITCH_S)
        self._device, self._threads = Device(where.gpu), where.threads
        self._kernels = self._device.compile(SOURCE, KERNELS)
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(where.threads)

    def make(self, units: Sequence[tuple[Cut, ...]]) -> list[Candidate | Refusal]:
        made = self._pool.map(self._make, units)
        return [result for results in made for result in results]

    def warm_up(self) -> None:
        """Give each thread its NVDEC session before there is work."""
        ready = threading.Barrier(self._threads)  # so that each thread gets one of the calls

        def prepare(_: int) -> None:
            ready.wait()  # before anything that can fail: the others would wait for ever
            self._maker().decoder.warm_up()

        list(self._pool.map(prepare, range(self._threads)))

    def _make(self, unit: tuple[Cut, ...]) -> list[Candidate | Refusal]:
        if unit[0].is_whole:
            return [self._maker().make(cut) for cut in unit]
        return SegmentMaker(self._maker().decoder).make(unit)

    def _maker(self) -> CandidateMaker:
        if not hasattr(self._own, "maker"):
            self._own.maker = CandidateMaker(self._device, self._kernels)
        maker: CandidateMaker = self._own.maker
        return maker


@lru_cache(maxsize=1)
def _clip_threads(where: Where) -> _ClipThreads:
    return _ClipThreads(where)


@lru_cache(maxsize=1)
def _slice_parser(gpu: int) -> GpuSliceParser:
    return GpuSliceParser(Device(gpu))


def warm_up_clips(where: Where) -> None:
    """Prepare a process that makes clips. Raises GpuError if the GPU cannot be used."""
    _clip_threads(where).warm_up()


def warm_up_parser(gpu: int) -> None:
    """Prepare the process that parses slices. Raises GpuError if the GPU cannot be used."""
    _slice_parser(gpu)


def make_candidates(task: tuple[Where, tuple[tuple[Cut, ...], ...]]) -> list[Candidate | Refusal]:
    """Make clips. A unit, of a whole clip or of segments of one source, is made by one thread."""
    where, units = task
    return _clip_threads(where).make(units)


def prove_candidates(task: tuple[int, tuple[tuple[StoredStream, ...], ...]]) -> list[Verdict]:
    """Judge candidates on the GPU of that number: each by its streams, of which all must be sound."""
    gpu, candidates = task
    verdicts: list[Verdict] = []
    stored = [stream for streams in candidates for stream in streams]
    for group in in_groups(stored, lambda stream: stream.nbytes):  # all at once may not fit into memory
        verdicts += prove([stream.load() for stream in group], _slice_parser(gpu))
    of_stream = iter(verdicts)
    return [_of_all(streams, list(islice(of_stream, len(streams)))) for streams in candidates]


def _of_all(streams: Sequence[StoredStream], verdicts: Sequence[Verdict]) -> Verdict:
    """The first verdict that is not sound, with the name of its stream; sound if all are."""
    for stream, verdict in zip(streams, verdicts, strict=True):
        if not verdict.ok:
            name = f"{stream.name}: " if stream.name else ""
            return replace(verdict, reason=f"{name}{verdict.reason}")
    return Verdict(True)
