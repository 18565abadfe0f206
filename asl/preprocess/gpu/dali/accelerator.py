"""Make frames on the GPU while the host cuts and proves: ``trim=dali``.

The host has to decode every clip for its proof, because a GPU's decoder conceals damage, and storing frames
then costs it little. So neither waits for the other: the GPU takes clips in batches, large pictures first,
and the host stores the frames of a clip that the GPU has not taken when it comes to that clip.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

from asl.preprocess import WORKER_MODULES
from asl.preprocess.clips.accelerator import FramesByDevice
from asl.preprocess.clips.cut import CutError
from asl.preprocess.clips.host_queue import cut_on_host
from asl.preprocess.clips.plan import Cut
from asl.preprocess.clips.proof import Proof
from asl.preprocess.gpu.dali.decoder import GROUP, warm_up
from asl.preprocess.gpu.dali.frames import make_batch
from asl.preprocess.gpu.dali.jobs import FrameJob
from asl.preprocess.gpu.dali.verify import unverified_path, verify_and_publish
from asl.preprocess.gpu.decodable import unsupported_reason
from asl.workers import Done, Failed, Workers

#: Most clips in a batch: two groups, so that the frames of one are written while the other is decoded.
BATCH = 2 * GROUP

#: Processes that drive the GPU: while one reads and writes files, the other decodes.
PROCESSES = 2


@contextmanager
def dali_offload(timeout_s: float) -> Iterator[DaliOffload]:
    """Start the processes that drive the GPU. They import DALI while the caller goes on.

    Args:
        timeout_s: time limit for a batch, which usually takes a second or two.
    """
    with Workers(PROCESSES, preload=WORKER_MODULES, required=False) as pool:
        yield DaliOffload(pool, timeout_s=timeout_s)


class DaliOffload:
    """An :class:`~asl.preprocess.clips.accelerator.Accelerator` that makes frames alone, with DALI.

    Use :func:`dali_offload`.
    """

    def __init__(self, pool: Workers, *, timeout_s: float) -> None:
        self._pool, self._timeout_s = pool, timeout_s
        self._warming_up = pool.run_each(warm_up, list(range(PROCESSES)), timeout_s=timeout_s)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._error: BaseException | None = None  # raised in the thread
        self._cuts: dict[str, Cut] = {}  # all that were offered, by video_id
        self._refused: dict[str, str] = {}  # reason by video_id
        self._lock = threading.Lock()  # of the next three
        self._queue: deque[FrameJob] = deque()
        self._free: set[str] = set()  # in the queue and not claimed by the host
        self._taken: set[str] = set()  # by the GPU

    def start(self, cuts: Sequence[Cut]) -> None:
        """Begin to make frames of these clips; the GPU is not given those that it cannot decode."""
        self._cuts = {cut.video_id: cut for cut in cuts}
        jobs = [job for cut in cuts if (job := self._job(cut)) is not None]
        jobs.sort(key=lambda job: (-job.width * job.height, job.source, job.start_s))
        self._queue = deque(jobs)
        self._free = {job.video_id for job in jobs}
        self._thread.start()

    def make_clips(
        self, cuts: Sequence[Cut], workers: Workers, *, timeout_s: float
    ) -> Iterator[tuple[Cut, Proof | CutError]]:
        """Make all clips on the host, without frames where DALI has taken those."""

        def at_its_turn(cut: Cut) -> Cut:
            return cut if self.claim_for_host(cut.video_id) else replace(cut, frames=None)

        return cut_on_host(cuts, workers, timeout_s=timeout_s, at_its_turn=at_its_turn)

    def claim_for_host(self, video_id: str) -> bool:
        """Whether the host makes the frames of this clip. If True, the GPU does not take it any more."""
        with self._lock:
            self._free.discard(video_id)
            return video_id not in self._taken

    def finish(self, proofs: Mapping[str, Proof], workers: Workers) -> FramesByDevice:
        """Wait for the GPU, verify its frames on the host's ``workers`` and store those that match.

        Raises:
            Exception: an unexpected error of the thread that fed the GPU.
        """
        self._thread.join()
        if self._error is not None:
            raise self._error
        taken = [cut for video_id, cut in self._cuts.items() if video_id in self._taken]
        proven = [cut for cut in taken if cut.video_id in proofs]
        tasks = [(cut, proofs[cut.video_id]) for cut in proven if cut.video_id not in self._refused]
        for ended in workers.run_each(verify_and_publish, tasks, timeout_s=self._timeout_s):
            why = ended.message if isinstance(ended, Failed) else ended.result
            if why is not None:
                self._refused[ended.task[0].video_id] = why
        for cut in taken:
            if cut.frames is not None:  # refused, or the host found the source damaged
                unverified_path(cut.frames.path).unlink(missing_ok=True)
        refused = [cut for cut in proven if cut.video_id in self._refused]
        reasons = Counter(why for video_id, why in self._refused.items() if video_id in proofs)
        return FramesByDevice(len(proven) - len(refused), refused, dict(reasons.most_common()))

    def _job(self, cut: Cut) -> FrameJob | None:
        if cut.frames is None or cut.raw is None:
            return None
        # The proof's fingerprint, with which frames are compared, is of whole pictures.
        why = "frames.crop=signer" if cut.frames.origin.part else unsupported_reason(cut.raw)
        if why is not None:
            self._refused[cut.video_id] = why
            return None
        return FrameJob(
            video_id=cut.video_id,
            source=cut.source,
            start_s=cut.start_s,
            end_s=cut.end_s,
            keep=replace(cut.frames, path=unverified_path(cut.frames.path)),
            width=cut.raw.width,
            height=cut.raw.height,
        )

    def _run(self) -> None:
        try:
            # The GPU takes nothing before a process is ready: the host may be faster.
            ready = [isinstance(ended, Done) for ended in self._warming_up]
            if not any(ready):
                return  # nothing is taken, so the host makes all frames
            for ended in self._pool.run_lazily(
                make_batch, self._batches(), ahead=PROCESSES, timeout_s=self._timeout_s
            ):
                if isinstance(ended, Failed):
                    self._add_refusals(ended.task, [f"GPU: {ended.message}"] * len(ended.task))
                else:
                    self._add_refusals(ended.task, ended.result)
        except BaseException as error:
            self._error = error

    def _batches(self) -> Iterator[tuple[FrameJob, ...]]:
        while True:
            with self._lock:
                batch: list[FrameJob] = []
                # Smaller at the end, so that the host does not wait long for the last ones.
                size = min(BATCH, -(-len(self._free) // (4 * PROCESSES)))
                while self._queue and len(batch) < size:
                    job = self._queue.popleft()
                    if job.video_id in self._free:
                        batch.append(job)
                video_ids = {job.video_id for job in batch}
                self._taken |= video_ids
                self._free -= video_ids
            if not batch:
                return
            yield tuple(batch)

    def _add_refusals(self, jobs: Sequence[FrameJob], reasons: Sequence[str | None]) -> None:
        for job, why in zip(jobs, reasons, strict=True):
            if why is not None:
                self._refused[job.video_id] = why
