"""Make and write the frames of a batch of clips with DALI. Runs in worker processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from asl.contract.frame_store import Frames, write_frames
from asl.preprocess.gpu.dali.decoder import GROUP, THREADS, Sample, decode_samples, from_bt601
from asl.preprocess.gpu.dali.driver import free_device_bytes
from asl.preprocess.gpu.dali.jobs import FrameJob, PreparedJob, SourceFiles, prepare

#: Share of the free device memory that all processes use together; the driver and DALI need the rest.
_MEMORY_SHARE = 0.35
_PROCESSES = 2  # that share the device, see accelerator.py

_CHANNELS = 3


def make_batch(jobs: tuple[FrameJob, ...]) -> list[str | None]:
    """Make and write the frames of each clip. Returns for each why it failed, or None.

    Threads read the files first, and write the frames of finished clips while the device decodes others.
    """
    results: list[str | None] = [None] * len(jobs)
    limit = max(1, int(_MEMORY_SHARE * free_device_bytes() / _PROCESSES))
    with ThreadPoolExecutor(THREADS) as threads:
        sources = SourceFiles()
        preparing = [threads.submit(prepare, job, sources) for job in jobs]
        prepared: dict[int, PreparedJob] = {}
        samples: list[Sample] = []
        for index, future in enumerate(preparing):
            result = future.result()
            if isinstance(result, str):
                results[index] = result
            else:
                prepared[index] = result
                samples += _split(index, jobs[index], result, limit)
        remaining = Counter(sample.clip_index for sample in samples)
        parts: dict[int, list[Frames]] = {index: [] for index in prepared}
        writing: dict[int, Future[str | None]] = {}
        for group in _groups(samples, limit):
            for sample, frames in zip(group, decode_samples(group), strict=True):
                index = sample.clip_index
                remaining[index] -= 1
                if isinstance(frames, str):
                    results[index] = frames
                else:
                    parts[index].append(frames)
                if not remaining[index] and results[index] is None:
                    writing[index] = threads.submit(_write, jobs[index], prepared[index], parts[index])
        for index, written in writing.items():
            results[index] = written.result()
    return results


def _split(clip_index: int, job: FrameJob, prepared: PreparedJob, limit: int) -> Iterator[Sample]:
    """One sample, or several if its frames would use more than ``limit`` bytes on the device."""
    size = job.keep.spec.size(job.width, job.height)
    frame_bytes = (job.width * job.height + 2 * size[0] * size[1]) * _CHANNELS
    step = max(1, limit // frame_bytes)
    for start in range(0, len(prepared.numbers), step):
        numbers = prepared.numbers[start : start + step]
        yield Sample(
            clip_index=clip_index,
            encoded=prepared.encoded,
            numbers=numbers,
            size=size,
            bytes=frame_bytes * len(numbers),
            matrix=from_bt601(prepared.matrix),
        )


def _groups(samples: Sequence[Sample], limit: int) -> Iterator[list[Sample]]:
    """Consecutive samples that use at most ``limit`` bytes together, at most ``GROUP`` of them."""
    group: list[Sample] = []
    for sample in samples:
        if len(group) == GROUP or (group and sum(one.bytes for one in group) + sample.bytes > limit):
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def _write(job: FrameJob, prepared: PreparedJob, parts: Sequence[Frames]) -> str | None:
    """Write the frames of a clip. Returns why that failed, or None."""
    frames = np.concatenate(parts) if len(parts) > 1 else parts[0]
    try:
        write_frames(job.keep.path, frames[prepared.positions], prepared.times_s, job.keep.origin)
    except OSError as error:
        return error.strerror or str(error)
    return None
