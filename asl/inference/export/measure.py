"""What exported files compute and how fast: checked against the checkpoint, and measured on clips."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asl.contract.manifest import Clip
from asl.inference.export.formats import Run
from asl.inference.export.packages import ExportError
from asl.inference.recogniser import Recogniser

#: The largest difference of a probability from that of the checkpoint in files of fp32.
TOLERANCE = 1e-4

_SQUARE = 8  # pixels
_MIN_RUNS, _MIN_SECONDS = 2, 0.5


@dataclass(frozen=True)
class Model:
    """An exported file, or the checkpoint itself."""

    name: str
    num_bytes: int
    run: Run
    exact: bool = True  # computes in fp32


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row of the table."""

    name: str
    num_bytes: int
    clips_per_s: float  # of the batch that is compared
    difference: float  # the largest of a probability from that of the checkpoint
    top1: float | None  # of the clips; None if there are none
    same: float | None  # share of the clips with the same first gloss as the checkpoint gives


def in_torch(recogniser: Recogniser) -> Run:
    """The function of the checkpoint's network."""
    return lambda frames: recogniser.probabilities(torch.from_numpy(frames)).float().numpy()


def measure(
    models: Sequence[Model],
    frames: npt.NDArray[np.uint8],
    clips: Sequence[Clip] = (),
    predict: Callable[[Run], npt.NDArray[np.float64]] | None = None,
) -> list[Measured]:
    """Compare models with the first one, which is the checkpoint.

    Args:
        models: the checkpoint and the files.
        frames: ``(B, T, H, W, 3)`` uint8. They go through each model at once and the first of them alone.
        clips: rows of the manifest.
        predict: gives a model's probabilities for ``clips``, ``(N, num_classes)``.

    Raises:
        ExportError: an exact model differs from the checkpoint by more than :data:`TOLERANCE`, or any gives
            values that are not finite.
    """
    found = [np.concatenate([model.run(frames), model.run(frames[:1])]) for model in models]
    differences = _differences(models, found)
    rates = [_clips_per_s(model.run, frames) for model in models]
    top1: list[float | None] = [None] * len(models)
    same: list[float | None] = [None] * len(models)
    if predict is not None:
        found = [predict(model.run) for model in models]
        differences = _differences(models, found)
        labels, first = [clip.label for clip in clips], [of_model.argmax(axis=1) for of_model in found]
        top1 = [float((glosses == labels).mean()) for glosses in first]
        same = [float((glosses == first[0]).mean()) for glosses in first]
    return [
        Measured(
            name=model.name,
            num_bytes=model.num_bytes,
            clips_per_s=rates[i],
            difference=differences[i],
            top1=top1[i],
            same=same[i],
        )
        for i, model in enumerate(models)
    ]


def noise(shape: Sequence[int], count: int) -> npt.NDArray[np.uint8]:
    """``count`` clips of ``shape`` (T, H, W, C) uint8: coloured squares that change from frame to frame."""
    num_frames, height, width, channels = shape
    cells = (count, num_frames, -(-height // _SQUARE), -(-width // _SQUARE), channels)
    colours = np.random.default_rng(0).integers(0, 256, cells, np.uint8)
    squares = colours.repeat(_SQUARE, axis=2).repeat(_SQUARE, axis=3)
    return np.ascontiguousarray(squares[:, :, :height, :width])


def _differences(models: Sequence[Model], found: Sequence[npt.NDArray[Any]]) -> list[float]:
    """The largest difference of a probability from the first model's, for each model."""
    differences = [float(np.abs(of_model - found[0]).max()) for of_model in found]
    for model, difference in zip(models, differences, strict=True):
        if not np.isfinite(difference):
            raise ExportError(f"{model.name} gives values that are not finite. Nothing was written")
        if model.exact and difference > TOLERANCE:
            raise ExportError(
                f"{model.name} does not compute what {models[0].name} computes: a probability differs by "
                f"{difference:.2g}, and {TOLERANCE:g} is allowed. Nothing was written"
            )
    return differences


def _clips_per_s(run: Run, frames: npt.NDArray[np.uint8]) -> float:
    """The rate of the fastest run over ``(B, T, H, W, 3)`` frames."""
    durations: list[float] = []
    while len(durations) < _MIN_RUNS or sum(durations) < _MIN_SECONDS:
        start = time.perf_counter()
        run(frames)
        durations.append(time.perf_counter() - start)
    return len(frames) / min(durations)
