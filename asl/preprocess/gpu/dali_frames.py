"""Frames of many clips at once, decoded and made small on a GPU by DALI. Runs in a worker process.

Only here, and only when it is chosen, is DALI imported.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.codecs.frame_collector import FramesRequest
from asl.codecs.timeline import PacketIndex, read_packet_index
from asl.codecs.video_file import VideoError
from asl.contract.frame_store import Frames, write_frames
from asl.contract.time_grid import frames_on_display, grid_length
from asl.preprocess.gpu.cuda_driver import free_device_bytes, wait_asleep
from asl.preprocess.sources.raw_files import RawVideo

#: Smallest width and height by codec that an H100's decoder takes. Others may take less; what it refuses
#: goes to the host. AV1 is not decoded before Ada, so it is left to the host altogether.
_LEAST = {"h264": (48, 16), "hevc": (144, 144), "vp8": (48, 16), "vp9": (128, 128), "mpeg4": (48, 16)}

#: Clips that DALI decodes at once; it is hardly faster with more (benchmarks/README.md).
GROUP = 32

_PIX_FMTS = ("yuv420p", "yuvj420p")
_THREADS = 8  # decoding at the same time; an H100 has seven decoders
_SHARE = 0.35  # of the free device memory that a batch may take; two processes share it
_CHANNELS = 3

# Shares of red and blue in the luma by H.273's number of the matrix. DALI converts by BT.601 (5, 6).
_LUMA_SHARES = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
_BT601 = (0.299, 0.114)

Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FrameJob:
    """One clip whose frames are wanted."""

    video_id: str
    source: Path
    start_s: Fraction
    end_s: Fraction | None
    keep: FramesRequest
    width: int  # pixels of the source
    height: int


@dataclass
class _Sample:
    """A run of frames of one clip; a clip that does not fit into memory at once has several."""

    clip: int  # its place in the batch
    encoded: npt.NDArray[np.uint8]
    numbers: npt.NDArray[np.int32]  # of frames in the order in which they are shown
    small: tuple[int, int]  # height, width of what is kept
    bytes: int  # on the device
    matrix: Matrix


def refuses(raw: RawVideo) -> str | None:
    """Why a GPU's decoder is not even asked; None: it may be able to."""
    if raw.codec not in _LEAST:
        return f"codec {raw.codec}"
    if raw.pix_fmt not in _PIX_FMTS:
        return f"pixel format {raw.pix_fmt}"
    if raw.turned:
        return "turned picture"
    if raw.width % 2 or raw.height % 2:
        return "odd picture size"
    if raw.width < _LEAST[raw.codec][0] or raw.height < _LEAST[raw.codec][1]:
        return f"picture too small for {raw.codec}"
    return None


def warm_up(_: int) -> None:
    """Import DALI and build a pipeline, so that the first batch need not wait for that."""
    _pipeline(GROUP, "mixed")


def decode_batch(jobs: tuple[FrameJob, ...]) -> list[str | None]:
    """Make and write the frames of each clip; None where that went well, else why it did not.

    Threads read the files before, and write each clip's frames while the device decodes the next ones.
    """
    results: list[str | None] = [None] * len(jobs)
    limit = max(1, int(_SHARE * free_device_bytes() / 2))
    with ThreadPoolExecutor(_THREADS) as threads:
        sources = _Sources()
        preparing = [threads.submit(_prepare, job, sources) for job in jobs]
        prepared = [future.result() for future in preparing]
        samples: list[_Sample] = []
        for place, (job, found) in enumerate(zip(jobs, prepared, strict=True)):
            if isinstance(found, str):
                results[place] = found
            else:
                samples += _split(place, job, found, limit)
        left = Counter(sample.clip for sample in samples)  # samples that are still to come
        parts: list[list[Frames]] = [[] for _ in jobs]
        writing = {}
        for group in _fitting(samples, limit):
            for sample, frames in zip(group, _decode(group), strict=True):
                place, found = sample.clip, prepared[sample.clip]
                left[place] -= 1
                if isinstance(frames, str):
                    results[place] = frames
                else:
                    parts[place].append(frames)
                if not left[place] and results[place] is None and isinstance(found, _Prepared):
                    writing[place] = threads.submit(_write, jobs[place], found, parts[place])
        for place, future in writing.items():
            results[place] = future.result()
    return results


# ---------------------------------------------------------------- which frames


def frame_numbers(
    times: Sequence[Fraction], end: Fraction, start_s: Fraction, end_s: Fraction | None, fps: float | None
) -> npt.NDArray[np.int32]:
    """Numbers of the source's frames that are kept of the span ``[start_s, end_s)``.

    Args:
        times: when each frame of the source is shown, from its first.
        end: when the last one ceases to be shown.
        start_s: of the clip in the source.
        end_s: likewise; None: to the end.
        fps: time grid; None: every frame of the span.

    Returns:
        ``(T,)`` int32, rising, with repetitions where the grid is finer than the frames; empty if no
        frame begins within the span.
    """
    inside = [i for i, time in enumerate(times) if time >= start_s and (end_s is None or time < end_s)]
    if not inside:
        return np.empty(0, np.int32)
    first, last = inside[0], inside[-1]
    if fps is None:
        return np.arange(first, last + 1, dtype=np.int32)
    ends = times[last + 1] if last + 1 < len(times) else end
    starts = np.array([float(time - times[first]) for time in times[first : last + 1]])
    points = np.arange(grid_length(round(float(ends - times[first]), 6), fps)) / fps
    return (first + frames_on_display(points, starts)).astype(np.int32)


class _Sources:
    """Files, each read once for all its clips in a batch."""

    def __init__(self) -> None:
        self._locks: defaultdict[Path, Lock] = defaultdict(Lock)
        self._read: dict[Path, tuple[PacketIndex, npt.NDArray[np.uint8]]] = {}

    def __getitem__(self, path: Path) -> tuple[PacketIndex, npt.NDArray[np.uint8]]:
        """What a file's packets say, and its bytes. Raises VideoError or OSError."""
        with self._locks[path]:
            if path not in self._read:
                self._read[path] = read_packet_index(path), np.fromfile(path, np.uint8)
            return self._read[path]


@dataclass(frozen=True)
class _Prepared:
    encoded: npt.NDArray[np.uint8]  # the whole file
    numbers: npt.NDArray[np.int32]  # of the frames that are kept, rising, each once
    places: npt.NDArray[np.intp]  # among these, of what is kept: some stand there several times
    times_s: Sequence[float]  # of what is kept, from the clip's first frame
    matrix: int


def _prepare(job: FrameJob, sources: _Sources) -> _Prepared | str:
    fps = job.keep.spec.fps
    try:
        index, encoded = sources[job.source]
    except (VideoError, OSError) as error:
        return str(getattr(error, "strerror", None) or error)
    timeline = index.timeline
    kept = frame_numbers(timeline.times, timeline.end, job.start_s, job.end_s, fps)
    if not len(kept):
        return "no frame in the segment"
    if fps is None:
        times = [float(timeline.times[i] - timeline.times[kept[0]]) for i in kept]
    else:
        times = [i / fps for i in range(len(kept))]
    numbers, places = np.unique(kept, return_inverse=True)
    return _Prepared(encoded, numbers, places, times, index.color_matrix)


def _split(place: int, job: FrameJob, found: _Prepared, limit: int) -> Iterator[_Sample]:
    """One sample, or several where its frames would take more than ``limit`` bytes on the device."""
    rows, columns = job.keep.spec.size(job.width, job.height)
    one = (job.width * job.height + 2 * rows * columns) * _CHANNELS
    step = max(1, limit // one)
    for start in range(0, len(found.numbers), step):
        part = found.numbers[start : start + step]
        yield _Sample(place, found.encoded, part, (rows, columns), one * len(part), from_bt601(found.matrix))


def _fitting(samples: Sequence[_Sample], limit: int) -> Iterator[list[_Sample]]:
    """Samples in runs that fit into memory together, no more than ``GROUP``."""
    group: list[_Sample] = []
    for sample in samples:
        if len(group) == GROUP or (group and sum(one.bytes for one in group) + sample.bytes > limit):
            yield group
            group = []
        group.append(sample)
    if group:
        yield group


def from_bt601(matrix: int) -> Matrix:
    """What turns RGB that was converted by BT.601 into the RGB that was meant, ``(3, 3)``.

    Args:
        matrix: the number of the right matrix in ITU-T H.273; those of BT.601 and unknown ones give 1.
    """
    if matrix not in _LUMA_SHARES:
        return np.eye(3, dtype=np.float32)
    return (_to_rgb(*_LUMA_SHARES[matrix]) @ np.linalg.inv(_to_rgb(*_BT601))).astype(np.float32)


def _to_rgb(red: float, blue: float) -> npt.NDArray[np.float64]:
    """Y, Cb, Cr in full range to R, G, B for these shares of red and blue in the luma (ITU-T H.273)."""
    green = 1 - red - blue
    return np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    )


# ---------------------------------------------------------------- the device


def _decode(samples: Sequence[_Sample]) -> list[Frames | str]:
    """Frames of each sample, or why not. What fails is tried again in halves, down to single frames.

    So one bad file costs its neighbours nothing, and memory that ran out is asked for in smaller parts.
    """
    try:
        return list(_run(samples))
    except Exception as error:
        _pipeline.cache_clear()  # after an error a pipeline is of no use
        if len(samples) > 1:
            middle = len(samples) // 2
            return _decode(samples[:middle]) + _decode(samples[middle:])
        (sample,) = samples
        if _is_memory(error) and len(sample.numbers) > 1:
            halves = [
                _Sample(sample.clip, sample.encoded, part, sample.small, sample.bytes // 2, sample.matrix)
                for part in np.array_split(sample.numbers, 2)
            ]
            first, second = (_decode([half])[0] for half in halves)
            for half in (first, second):
                if isinstance(half, str):
                    return [half]
            return [np.concatenate([first, second])]  # type: ignore[list-item]
        return [_reason(error)]


def _run(samples: Sequence[_Sample], *, device: str = "mixed") -> list[Frames]:
    pipeline = _pipeline(_round_up(len(samples)), device)
    outputs = pipeline.run(
        encoded=[sample.encoded for sample in samples],
        numbers=[sample.numbers for sample in samples],
        size=[np.array(sample.small, np.float32) for sample in samples],
        matrix=[sample.matrix for sample in samples],
    )
    small = outputs[0].as_cpu()
    return [np.array(small[i]) for i in range(len(samples))]


@lru_cache(maxsize=4)
def _pipeline(batch: int, device: str) -> Any:
    """A DALI pipeline for up to ``batch`` samples; ``device``: mixed, or cpu where no GPU is."""
    from nvidia import dali
    from nvidia.dali import fn, types

    if device == "mixed":
        wait_asleep()

    @dali.pipeline_def(
        batch_size=batch,
        num_threads=_THREADS,
        device_id=0 if device == "mixed" else None,
        prefetch_queue_depth=1,
    )
    def decode() -> Any:
        encoded = fn.external_source(name="encoded", dtype=types.UINT8, ndim=1)
        numbers = fn.external_source(name="numbers", dtype=types.INT32, ndim=1)
        size = fn.external_source(name="size", dtype=types.FLOAT, ndim=1)
        matrix = fn.external_source(name="matrix", dtype=types.FLOAT, ndim=2)
        frames = fn.decoders.video(encoded, device=device, frames=numbers, affine=False)
        small = fn.resize(frames, size=size, interp_type=types.INTERP_TRIANGULAR)
        return fn.coord_transform(small, M=matrix, dtype=types.UINT8)

    pipeline = decode()
    pipeline.build()
    return pipeline


def _round_up(count: int) -> int:
    """To a power of two, so that few pipelines serve all batches."""
    return 1 << (count - 1).bit_length()


def _is_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "bad_alloc" in text or "cudaerrormemoryallocation" in text


def _reason(error: BaseException) -> str:
    """The telling line of DALI's message, which is long and full of places in its own code."""
    text = " ".join(str(error).split())
    for start, end in (
        ("encountered:", "C++ context"),
        ("encountered:", "Current pipeline"),
        ("", "C++ context"),
    ):
        if start in text and end in text:
            return text.split(start, 1)[-1].split(end, 1)[0].strip(" []")[:200] or "cannot be decoded"
    return text[:200] or type(error).__name__


def _write(job: FrameJob, found: _Prepared, parts: Sequence[Frames]) -> str | None:
    frames = np.concatenate(parts) if len(parts) > 1 else parts[0]
    try:
        write_frames(job.keep.path, frames[found.places], found.times_s, job.keep.origin)
    except OSError as error:
        return error.strerror or str(error)
    return None
