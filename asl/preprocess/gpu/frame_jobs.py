"""Frames made on the GPU while the host cuts and proves: who makes which, and what came of it.

The host's strict decoder must see every clip anyway, as a GPU's conceals damage, and while it does it can
keep frames at little cost. So neither waits for the other: the GPU takes clips in batches from one end,
large pictures first, and the host keeps the frames of those that nobody has taken when it comes to them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asl.contract.frame_store import open_frames, read_shape
from asl.files import PART
from asl.preprocess import WORKER_MODULES
from asl.preprocess.audit.fingerprint import SIDE, frames_to_keep, from_text
from asl.preprocess.clips.trim import Cut, Proof
from asl.preprocess.gpu import dali_frames
from asl.preprocess.gpu.dali_frames import GROUP, FrameJob
from asl.workers import Done, Failed, Workers

#: Clips that a process takes at once, at most: two groups, so that it decodes one and writes the other.
BATCH = 2 * GROUP

#: Processes that drive the GPU: while one reads and writes files, the other decodes.
PROCESSES = 2

#: Mean difference in grey levels from which a picture is another one. Scalers differ by 1 or 2.
_ANOTHER_PICTURE = 12


@dataclass(frozen=True)
class Gpu:
    """The processes that drive the GPU."""

    pool: Workers
    warming: Iterator[Done[int, None] | Failed[int]]  # ends when they are warm


@contextmanager
def start_gpu(timeout_s: float) -> Iterator[Gpu]:
    """Start what drives the GPU, and let it warm up."""
    with Workers(PROCESSES, preload=WORKER_MODULES) as pool:
        yield Gpu(pool, pool.run_each(dali_frames.warm_up, list(range(PROCESSES)), timeout_s=timeout_s))


class GpuFrames:
    """Makes frames in processes and a thread of its own, from :meth:`start` to :meth:`wait`.

    Args:
        gpu: of :func:`start_gpu`.
        jobs: all clips that the GPU can decode.
        timeout_s: of one batch, which takes a second or two.
    """

    def __init__(self, gpu: Gpu, jobs: Iterable[FrameJob], *, timeout_s: float) -> None:
        self._gpu = gpu
        ordered = sorted(jobs, key=lambda job: (-job.width * job.height, job.source, job.start_s))
        self._queue = deque(ordered)
        self._free = {job.video_id for job in ordered}
        self._lock = threading.Lock()
        self._timeout_s = timeout_s
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.taken: set[str] = set()
        self.refused: dict[str, str] = {}  # by video_id: why the host must do it
        self.broken: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def host_takes(self, video_id: str) -> bool:
        """True if the host is to make these frames; they are then no longer the GPU's to take."""
        with self._lock:
            self._free.discard(video_id)
            return video_id not in self.taken

    def wait(self) -> None:
        """Until all that the GPU took is made or refused.

        Raises:
            BaseException: what went wrong in the thread, a defect of asl.
        """
        self._thread.join()
        if self.broken is not None:
            raise self.broken

    def _batches(self) -> Iterator[tuple[FrameJob, ...]]:
        while True:
            with self._lock:
                batch: list[FrameJob] = []
                # Small ones at the end, so that the host does not wait long for the last.
                most = min(BATCH, -(-len(self._free) // (4 * PROCESSES)))
                while self._queue and len(batch) < most:
                    job = self._queue.popleft()
                    if job.video_id in self._free:
                        batch.append(job)
                names = {job.video_id for job in batch}
                self.taken |= names
                self._free -= names
            if not batch:
                return
            yield tuple(batch)

    def _run(self) -> None:
        try:
            # Nothing is taken before a process is ready for it: the host may be faster.
            warm = [isinstance(ended, Done) for ended in self._gpu.warming]
            if not any(warm):
                return  # nothing was taken, so the host makes all
            for ended in self._gpu.pool.run_lazily(
                dali_frames.decode_batch,
                self._batches(),
                ahead=PROCESSES,
                timeout_s=self._timeout_s,
            ):
                if isinstance(ended, Done):
                    self._note(ended.task, ended.result)
                else:
                    self._note(ended.task, [f"GPU: {ended.message}"] * len(ended.task))
        except BaseException as error:
            self.broken = error

    def _note(self, jobs: Iterable[FrameJob], results: Iterable[str | None]) -> None:
        for job, why in zip(jobs, results, strict=True):
            if why is not None:
                self.refused[job.video_id] = why


def unproven(path: Path) -> Path:
    """The name of frames that were not held against a proof yet; a killed run's are cleared away."""
    return path.with_name(f".{path.stem}.gpu{PART}{path.suffix}")


def doubt(work: tuple[Cut, Proof]) -> str | None:
    """Why frames from the GPU cannot be those of the clip that the strict decoder saw.

    None: they can, and have got their name now.

    A GPU's decoder does not say when it had to invent something. So the frames are held against the
    pictures in the proof: eight small grey ones, spread over the clip.
    """
    cut, proof = work
    if cut.frames is None:
        return None
    path, expected = unproven(cut.frames.path), cut.frames.spec.count(proof.duration_s, proof.num_frames)
    shape = read_shape(path)
    if shape is None or shape[0] != expected:
        path.unlink(missing_ok=True)
        return "another number of frames than the proof"
    frames, _ = open_frames(path)
    seen = from_text(proof.fingerprint).astype(np.float32)
    places = [i * expected // proof.num_frames for i in frames_to_keep(proof.num_frames)]
    got = np.stack([_thumbnail(frames[i]) for i in places])
    differences = np.abs(got - seen).mean(axis=(1, 2))
    if float(differences.max()) > _ANOTHER_PICTURE:
        path.unlink()
        return "other pictures than the proof"
    path.replace(cut.frames.path)
    return None


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    """``(H, W, 3)`` uint8 -> grey ``(SIDE, SIDE)`` float32."""
    grey = frame.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
    rows = np.array_split(np.arange(len(grey)), SIDE)
    columns = np.array_split(np.arange(grey.shape[1]), SIDE)
    bands = np.stack([grey[row].mean(axis=0) for row in rows])
    return np.stack([bands[:, column].mean(axis=1) for column in columns], axis=1)
