"""Decode and shrink chosen frames of many files at once on the GPU with DALI. Runs in worker processes.

DALI is imported only when a pipeline is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from asl.contract.frame_store import Frames
from asl.preprocess.gpu.color_matrices import BT601, LUMA_WEIGHTS
from asl.preprocess.gpu.dali.driver import block_while_waiting

#: Clips that DALI decodes at once; more are hardly faster (benchmarks/README.md).
GROUP = 32

#: Threads that submit work to the decoders; an H100 has seven decoders.
THREADS = 8

Matrix = npt.NDArray[np.float32]  # (3, 3)


@dataclass(frozen=True)
class Sample:
    """Frames of one clip that are decoded together. A clip too large for the memory has several samples."""

    clip_index: int  # in the batch
    encoded: npt.NDArray[np.uint8]  # the whole file
    numbers: npt.NDArray[np.int32]  # of frames in the order in which they are shown
    size: tuple[int, int]  # height, width of the result
    bytes: int  # on the device
    matrix: Matrix  # see from_bt601


def warm_up(_: int) -> None:
    """Import DALI and build a pipeline, so that the first batch does not wait for it."""
    _pipeline(GROUP, "mixed")


def decode_samples(samples: Sequence[Sample]) -> list[Frames | str]:
    """The frames of each sample, or why they cannot be decoded.

    Samples that fail together are tried again in halves, down to single frames: a bad file fails alone, and
    less memory is needed at a time.
    """
    try:
        return list(_run(samples))
    except Exception as error:
        _pipeline.cache_clear()  # a pipeline cannot be used after an error
        if len(samples) > 1:
            middle = len(samples) // 2
            return decode_samples(samples[:middle]) + decode_samples(samples[middle:])
        (sample,) = samples
        if _is_out_of_memory(error) and len(sample.numbers) > 1:
            halves = [
                replace(sample, numbers=numbers, bytes=sample.bytes // 2)
                for numbers in np.array_split(sample.numbers, 2)
            ]
            first, second = (decode_samples([half])[0] for half in halves)
            for half in (first, second):
                if isinstance(half, str):
                    return [half]
            return [np.concatenate([first, second])]  # type: ignore[list-item]
        return [_reason(error)]


def from_bt601(matrix: int) -> Matrix:
    """The matrix that corrects RGB which DALI converted from YUV with BT.601, as it always does.

    Args:
        matrix: number of the right matrix in ITU-T H.273. BT.601 and unknown numbers give the identity.
    """
    if matrix not in LUMA_WEIGHTS:
        return np.eye(3, dtype=np.float32)
    return (_to_rgb(*LUMA_WEIGHTS[matrix]) @ np.linalg.inv(_to_rgb(*BT601))).astype(np.float32)


def _to_rgb(red: float, blue: float) -> npt.NDArray[np.float64]:
    """Full-range Y, Cb, Cr to R, G, B, for these weights of red and blue in the luma (ITU-T H.273)."""
    green = 1 - red - blue
    return np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * blue * (1 - blue) / green, -2 * red * (1 - red) / green],
            [1, 2 * (1 - blue), 0],
        ]
    )


def _run(samples: Sequence[Sample], *, device: str = "mixed") -> list[Frames]:
    pipeline = _pipeline(_round_up(len(samples)), device)
    outputs = pipeline.run(
        encoded=[sample.encoded for sample in samples],
        numbers=[sample.numbers for sample in samples],
        size=[np.array(sample.size, np.float32) for sample in samples],
        matrix=[sample.matrix for sample in samples],
    )
    small = outputs[0].as_cpu()
    return [np.array(small[i]) for i in range(len(samples))]


@lru_cache(maxsize=4)
def _pipeline(batch: int, device: str) -> Any:
    """A DALI pipeline for up to ``batch`` samples.

    Args:
        batch: number of samples.
        device: "mixed" decodes on the GPU, "cpu" does without one.
    """
    from nvidia import dali
    from nvidia.dali import fn, types

    if device == "mixed":
        block_while_waiting()

    @dali.pipeline_def(
        batch_size=batch,
        num_threads=THREADS,
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
    """To a power of two, so that a few cached pipelines are enough for all batches."""
    return 1 << (count - 1).bit_length()


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return "out of memory" in text or "bad_alloc" in text or "cudaerrormemoryallocation" in text


def _reason(error: BaseException) -> str:
    """The cause in DALI's message, without the lines about its pipeline and its own source code."""
    text = " ".join(str(error).split())
    for start, end in (
        ("encountered:", "C++ context"),
        ("encountered:", "Current pipeline"),
        ("", "C++ context"),
    ):
        if start in text and end in text:
            return text.split(start, 1)[-1].split(end, 1)[0].strip(" []")[:200] or "cannot be decoded"
    return text[:200] or type(error).__name__
