"""``trim=nvdec``: GPUs decode and prove clips of H.264 sources; the host makes the others meanwhile.

A clip goes through two kinds of processes. Several make candidates: they copy the source or encode a segment
of it, decode with NVDEC, and make frames, thumbnails and fingerprint of the pictures. One for each GPU parses
the slices of many candidates at once. Whatever the GPU refuses, or has when it fails, goes to the host's
strict decoder, whose verdict decides; so the clips are those of ``trim=cpu``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from asl.machine import available_cores
from asl.preprocess import GPU_WORKER_MODULES
from asl.preprocess.clips.accelerator import FramesByDevice
from asl.preprocess.clips.cut import CutError
from asl.preprocess.clips.host_queue import HostQueue
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.gpu.device_memory import least_free_bytes
from asl.preprocess.gpu.h264.verdict import Verdict
from asl.preprocess.gpu.nvdec.candidate import Candidate, Refusal
from asl.preprocess.gpu.nvdec.work import Unit, in_order, next_units, why_unsupported, work_of
from asl.preprocess.gpu.nvdec.worker import (
    Where,
    make_candidates,
    prove_candidates,
    warm_up_clips,
    warm_up_parser,
)
from asl.workers import Done, Failed, RunningTasks, Workers

#: Processes that make clips on one GPU, at most, and NVDEC sessions in all of them together. Python's lock
#: lets a process make about 20 clips a second whatever its threads; each needs a CUDA context of 0.5 GB.
_MOST_PROCESSES, _SESSIONS = 10, 20
_MOST_THREADS = 4  # of a process, whatever that leaves of the sessions
_PROCESS_BYTES = 800_000_000  # of the GPU's memory: an H100 has 7.7 GB in use with eleven processes
_CORES_SHARE = 0.75  # the other cores encode segments, parse slices and serve the host's workers

#: Units that a process is given at once. One with segments keeps a thread busy for longer than others.
_LEAST_UNITS, _MOST_UNITS = 2, 16

#: Clips that are parsed together. A slice is a sequential job, so only those of many clips keep a GPU busy.
_LEAST_BATCH, _MOST_BATCH = 64, 256
_MOST_PENDING = 1024  # clips that wait for the parser: their files lie on the disk twice
_LAST_BATCH = 32  # once all clips are being made: the last batch would come late otherwise

#: Tasks of one GPU that may fail before it is given no more.
_MOST_FAULTS = 3

_WARM_UP, _MAKE, _PROVE, _HOST = "warm up", "make", "prove", "host"


class _Gpu:
    """One GPU's processes, and the clips that it has."""

    def __init__(self, number: int, makers: Workers, prover: Workers) -> None:
        self.number, self.makers, self.prover = number, makers, prover
        self.where = Where(number, min(_MOST_THREADS, max(2, -(-_SESSIONS // makers.count))))
        self.pending: deque[tuple[Cut, Candidate]] = deque()  # made, and not parsed yet
        self.proving: tuple[tuple[Cut, Candidate], ...] = ()  # being parsed
        self.failed_starts = 0
        self.faults = 0
        self.message = ""  # of the last fault

    @property
    def works(self) -> bool:
        return self.faults < _MOST_FAULTS


class NvdecAccelerator:
    """Makes clips on GPUs. Use :func:`nvdec_accelerator`.

    Attributes:
        left_to_host: clips that a GPU was meant to make and the host made, by reason.
    """

    def __init__(self, gpus: Sequence[_Gpu], *, timeout_s: float) -> None:
        self._gpus = gpus
        self._frames = 0
        self._bitstream: dict[str, str] = {}  # what the parser refuses, by video_id
        self.left_to_host: Counter[str] = Counter()
        self._running = RunningTasks()
        for gpu in gpus:
            key = _WARM_UP, gpu
            for _ in range(gpu.makers.count):
                self._running.start(gpu.makers, warm_up_clips, gpu.where, key=key, timeout_s=timeout_s)
            self._running.start(gpu.prover, warm_up_parser, gpu.number, key=key, timeout_s=timeout_s)

    @property
    def count(self) -> int:
        """Number of GPUs."""
        return len(self._gpus)

    def wait_until_ready(self) -> str | None:
        """Wait until all processes are ready. Returns why a GPU does not work; None if all do."""
        while self._num_warming_up():
            for (_, gpu), ended in self._running.next():
                self._warmed_up(gpu, ended)
        return next((gpu.message for gpu in self._gpus if not gpu.works), None)

    def forget(self) -> None:
        """Count from zero again, as if no clip had been made."""
        self._frames = 0
        self._bitstream.clear()
        self.left_to_host.clear()

    def start(self, cuts: Sequence[Cut]) -> None:
        """Nothing to start: frames are made with their clips."""

    def claim_for_host(self, video_id: str) -> bool:
        """True: frames of clips that are already made are made on the host."""
        return True

    def finish(self, proofs: Mapping[str, Proof], workers: Workers) -> FramesByDevice:
        """How many clips' frames were made on GPUs; all are stored already. Ends the processes."""
        for gpu in self._gpus:
            for pool in (gpu.makers, gpu.prover):
                pool.stop()
        return FramesByDevice(self._frames, (), dict(self.left_to_host.most_common()))

    def make_clips(
        self, cuts: Sequence[Cut], workers: Workers, *, timeout_s: float
    ) -> Iterator[tuple[Cut, Proof | CutError]]:
        """Make clips on the GPUs and on the host; yields each as it ends."""
        for_gpu, for_host = self._shared_out(cuts)
        queue, running, has_ended = deque(in_order(for_gpu)), self._running, False
        host = HostQueue(for_host, workers, running, timeout_s=timeout_s, key=(_HOST, None))
        try:
            while True:
                self._feed(queue, host, timeout_s)
                if not queue and len(running) == self._num_warming_up():
                    has_ended = True
                    return
                for (kind, gpu), ended in running.next(host.poll_s):
                    if kind == _HOST:
                        yield from map(self._by_host, host.ended(ended))
                    elif kind == _WARM_UP:
                        self._warmed_up(gpu, ended)
                    elif kind == _MAKE:
                        self._made(gpu, ended, host)
                    else:
                        yield from self._judged(gpu, ended, host)
                yield from map(self._by_host, host.results())
        finally:
            if not has_ended:
                self._give_up()

    def _give_up(self) -> None:
        """End the processes, then remove what they have made and nobody takes any more."""
        self._running.cancel()
        for gpu in self._gpus:
            gpu.makers.end()
            gpu.prover.end()
            for _, candidate in (*gpu.pending, *gpu.proving):
                candidate.discard()
        for (kind, _), ended in self._running.ended():
            if kind == _MAKE and isinstance(ended, Done):
                for result in ended.result:
                    if isinstance(result, Candidate):
                        result.discard()

    def _shared_out(self, cuts: Sequence[Cut]) -> tuple[list[Cut], list[Cut]]:
        """The clips for the GPUs, and those for the host."""
        for_gpu, for_host = [], []
        for cut in cuts:
            reason = why_unsupported(cut)
            if reason is None:
                for_gpu.append(cut)
            else:
                for_host.append(cut)
                self.left_to_host[reason] += 1
        return for_gpu, for_host

    def _warmed_up(self, gpu: _Gpu, ended: Done[object, None] | Failed[object]) -> None:
        if not isinstance(ended, Failed):
            return
        self._fault(gpu, ended.message)
        gpu.failed_starts += isinstance(ended.task, Where)
        is_parser = not isinstance(ended.task, Where)
        if is_parser or gpu.failed_starts == gpu.makers.count:  # one that has too little memory is one fault
            gpu.faults = _MOST_FAULTS

    def _num_warming_up(self) -> int:
        """How many processes are not ready yet."""
        return sum(self._running.count((_WARM_UP, gpu)) for gpu in self._gpus)

    def _feed(self, queue: deque[Unit], host: HostQueue, timeout_s: float) -> None:
        """Start what can be started."""
        running = self._running
        if not any(gpu.works for gpu in self._gpus):
            while queue:
                for cut in queue.popleft():
                    self._leave(cut, self._gpus[0].message, host)
        for gpu in self._gpus:
            has_room = len(gpu.pending) <= _MOST_PENDING
            while gpu.works and queue and has_room and running.count((_MAKE, gpu)) < 2 * gpu.makers.count:
                # Fewer at the end, so that all processes end together; the longest first, likewise.
                size = max(
                    _LEAST_UNITS, min(_MOST_UNITS, len(queue) // (2 * gpu.makers.count * len(self._gpus)))
                )
                units = next_units(queue, size)
                units.sort(key=work_of, reverse=True)
                task = gpu.where, tuple(units)
                running.start(gpu.makers, make_candidates, task, key=(_MAKE, gpu), timeout_s=timeout_s)
            least = _LEAST_BATCH if queue else _LAST_BATCH if running.count((_MAKE, gpu)) else 1
            if not gpu.proving and len(gpu.pending) >= least:
                gpu.proving = tuple(gpu.pending.popleft() for _ in range(min(_MOST_BATCH, len(gpu.pending))))
                streams = tuple(candidate.streams for _, candidate in gpu.proving)
                running.start(
                    gpu.prover,
                    prove_candidates,
                    (gpu.number, streams),
                    key=(_PROVE, gpu),
                    timeout_s=timeout_s,
                )
        host.start()

    def _made(
        self,
        gpu: _Gpu,
        ended: Done[tuple[Where, tuple[Unit, ...]], list[Candidate | Refusal]]
        | Failed[tuple[Where, tuple[Unit, ...]]],
        host: HostQueue,
    ) -> None:
        """Take over what a process has made."""
        cuts = [cut for unit in ended.task[1] for cut in unit]
        if isinstance(ended, Failed):
            self._fault(gpu, ended.message)
            for cut in cuts:
                self._leave(cut, gpu.message, host)
            return
        refusals = [result for result in ended.result if isinstance(result, Refusal)]
        if len(refusals) == len(cuts) and all(refusal.gpu_failed for refusal in refusals):
            self._fault(gpu, refusals[0].reason)  # it would take all clips, for nothing
        for cut, result in zip(cuts, ended.result, strict=True):
            if isinstance(result, Candidate):
                gpu.pending.append((cut, result))
            else:
                if result.bitstream:
                    self._bitstream[cut.video_id] = result.bitstream
                self._leave(cut, result.reason, host)

    def _judged(
        self,
        gpu: _Gpu,
        ended: Done[tuple[int, tuple[object, ...]], list[Verdict]] | Failed[tuple[int, tuple[object, ...]]],
        host: HostQueue,
    ) -> Iterator[tuple[Cut, Proof | CutError]]:
        """Publish the clips in which the parser found nothing; the others go to the host."""
        if isinstance(ended, Failed):
            self._fault(gpu, ended.message)
            for cut, candidate in gpu.proving:
                candidate.discard()
                self._leave(cut, gpu.message, host)
            gpu.proving = ()
            return
        for (cut, candidate), verdict in zip(gpu.proving, ended.result, strict=True):
            if verdict.ok:
                try:
                    self._publish(cut, candidate)
                except OSError as error:  # the host tries again, and says which file it is
                    self._leave(cut, f"not writable: {error.strerror or error}", host)
                else:
                    yield cut, candidate.proof
                continue
            candidate.discard()
            if not verdict.unsupported:
                self._bitstream[cut.video_id] = verdict.reason
            self._leave(cut, "unknown to the parser" if verdict.unsupported else "bitstream", host)
        gpu.proving = ()  # until here, so that all are discarded if the caller gives up

    def _publish(self, cut: Cut, candidate: Candidate) -> None:
        """Give the files their names. Raises OSError."""
        try:
            if candidate.frames is not None and cut.frames is not None:
                candidate.frames.replace(cut.frames.path)
            candidate.part.replace(cut.target)
        finally:
            candidate.discard()
        self._frames += cut.frames is not None

    def _leave(self, cut: Cut, reason: str, host: HostQueue) -> None:
        self.left_to_host[reason] += 1
        host.add(cut)

    def _fault(self, gpu: _Gpu, message: str) -> None:
        gpu.faults += 1
        gpu.message = f"GPU {gpu.number}: {message}"

    def _by_host(self, made: tuple[Cut, Proof | CutError]) -> tuple[Cut, Proof | CutError]:
        """The host's result, with what the parser refuses although the strict decoder takes it."""
        cut, result = made
        found = self._bitstream.get(cut.video_id)
        if found and isinstance(result, Proof):
            result = dataclasses.replace(result, bitstream=found)
        return cut, result


@contextmanager
def nvdec_accelerator(gpus: Sequence[int], *, timeout_s: float) -> Iterator[NvdecAccelerator]:
    """Start the processes that drive GPUs. They get ready while the caller goes on.

    Args:
        gpus: their numbers, as CUDA counts.
        timeout_s: time limit of a task, which usually takes a second.
    """
    processes = processes_for_each(len(gpus))
    with ExitStack() as closing:
        pools = [
            _Gpu(
                number,
                closing.enter_context(Workers(processes, preload=GPU_WORKER_MODULES, required=False)),
                closing.enter_context(Workers(1, preload=GPU_WORKER_MODULES, required=False)),
            )
            for number in gpus
        ]
        yield NvdecAccelerator(pools, timeout_s=timeout_s)


def processes_for_each(gpus: int) -> int:
    """How many processes make clips on each of so many GPUs, by cores and free memory of the GPUs."""
    processes = min(_MOST_PROCESSES, round(_CORES_SHARE * available_cores() / gpus))
    free = least_free_bytes()
    if free is not None:
        processes = min(processes, free // _PROCESS_BYTES - 1)  # one parses slices
    return max(1, processes)
