"""Calibration: whether clips that get a probability of 80 % are right in 80 % of cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asl.evaluation.accuracy import hits
from asl.evaluation.predictions import Prediction

NUM_BINS = 15  # as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017


@dataclass(frozen=True)
class Bin:
    """The clips whose highest probability is in ``[low, high)``; a point of a reliability diagram."""

    low: float
    high: float
    clips: int
    confidence: float | None  # mean of the highest probabilities; None without clips
    accuracy: float | None  # top-1; None without clips


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error and the bins it is computed from."""

    ece: float  # mean over clips of |accuracy - confidence| of their bin
    bins: tuple[Bin, ...]


def calibrate(predictions: Sequence[Prediction]) -> Calibration:
    """Compare confidence and top-1 accuracy in bins of equal width. A probability of 1 is in the last one."""
    confidence = np.array([one.confidence for one in predictions])
    correct = hits(predictions, 1).astype(np.float64)
    edges = np.linspace(0, 1, NUM_BINS + 1)
    bin_of = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, NUM_BINS - 1)
    clips = np.bincount(bin_of, minlength=NUM_BINS)
    sums = [np.bincount(bin_of, values, minlength=NUM_BINS) for values in (confidence, correct)]
    ece = float(np.abs(sums[0] - sums[1]).sum() / len(predictions))
    means = [[float(total / n) if n else None for total, n in zip(row, clips, strict=True)] for row in sums]
    return Calibration(
        ece,
        tuple(
            Bin(float(edges[i]), float(edges[i + 1]), int(clips[i]), means[0][i], means[1][i])
            for i in range(NUM_BINS)
        ),
    )
