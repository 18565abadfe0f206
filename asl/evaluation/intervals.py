"""95 % intervals of accuracies: Wilson's for independent clips, the bootstrap over clips or over signers.

Clips of one signer are not independent, so an interval over clips is too narrow for what it says about other
signers. ``benchmarks/intervals.py`` measures how often each interval covers the true value.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from asl.contract.manifest import signer_order

LEVEL = 0.95

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Over = Literal["instances", "classes"]

#: Both ways to average: every clip counts the same, or every class.
AVERAGES: tuple[Over, ...] = ("instances", "classes")


def mean(classes: npt.ArrayLike, values: npt.ArrayLike, over: Over) -> float:
    """The mean over all instances, or the mean over the classes that have clips of the mean of each.

    Args:
        classes: ``(N,)`` class of each clip, any numbers.
        values: ``(N,)``.
        over: ``instances`` or ``classes``.
    """
    values = np.asarray(values, np.float64)
    if over == "instances":
        return float(values.mean())
    present = np.unique(np.asarray(classes), return_inverse=True)[1]
    return float((np.bincount(present, values) / np.bincount(present)).mean())


def wilson(correct: int, count: int) -> Interval:
    """Wilson's interval of a share of ``count`` independent clips."""
    interval = stats.binomtest(correct, count).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


class Bootstrap:
    """Resamples of the clips of an evaluation, drawn once for all its figures.

    Units are drawn with replacement, as many as there are: clips, or signers with all their clips.

    Args:
        classes: ``(N,)`` class of each clip, any numbers.
        units: ``(N,)`` unit of each clip, any numbers. None: each clip is a unit.
        resamples: how many.
        seed: of the draws.
    """

    def __init__(
        self,
        classes: npt.ArrayLike,
        units: npt.ArrayLike | None = None,
        *,
        resamples: int = 2000,
        seed: int = 0,
    ) -> None:
        self._classes = np.unique(np.asarray(classes), return_inverse=True)[1]
        units = np.arange(len(self._classes)) if units is None else np.asarray(units)
        self._units = np.unique(units, return_inverse=True)[1]
        self.num_units = int(self._units.max()) + 1
        self._shape = int(self._classes.max()) + 1, self.num_units
        draws = np.random.default_rng(seed).multinomial(
            self.num_units, np.full(self.num_units, 1 / self.num_units), size=resamples
        )
        self._draws = np.ascontiguousarray(draws.T, dtype=np.float64)  # (units, resamples)

    @cached_property
    def _clips(self) -> Floats:
        """Clips of each class in each resample: ``(classes, resamples)``."""
        return self._by_class(np.ones(len(self._classes)))

    def _by_class(self, values: Floats) -> Floats:
        """The sum of ``values`` (N,) in each class and resample: ``(classes, resamples)``."""
        where = (self._classes, self._units)
        sums: Floats = sparse.coo_array((values, where), shape=self._shape).tocsr() @ self._draws
        return sums

    def resampled(self, values: npt.ArrayLike, over: Over) -> Floats:
        """:func:`mean` of values ``(N,)`` in each resample, over the classes it has: ``(resamples,)``."""
        sums = self._by_class(np.asarray(values, np.float64))
        if over == "instances":
            return sums.sum(0) / self._clips.sum(0)
        present = self._clips > 0
        return (sums / np.where(present, self._clips, 1)).sum(0) / present.sum(0)

    def interval(self, values: npt.ArrayLike, over: Over) -> Interval:
        """The percentile interval of :func:`mean` of values ``(N,)``.

        With few units the percentiles are those of Hesterberg's expanded interval ("What Teachers Should Know
        About the Bootstrap", The American Statistician 2015), which is as wide as one of Student's t. Over
        classes, deviations are scaled up where classes have few clips, see :meth:`_variance_over_classes`.
        """
        values = np.asarray(values, np.float64)
        resampled = self.resampled(values, over)
        if over == "classes" and (variance := resampled.var()) > 0:
            value = mean(self._classes, values, over)
            scale = max(1.0, self._variance_over_classes(values) / variance) ** 0.5
            resampled = np.clip(value + scale * (resampled - value), values.min(), values.max())
        count = self.num_units
        t = stats.t.ppf((1 - LEVEL) / 2, count - 1)
        tail = float(stats.norm.cdf(t * np.sqrt(count / (count - 1))))
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return float(low), float(high)

    def _variance_over_classes(self, values: Floats) -> float:
        """The variance of the mean over classes, nearly without the bias of resamples.

        Of n clips of a class, each is nearer to their mean than to the true one: squares are too small by the
        factor ``1 - 1/n``, and products of clips of two classes by both classes' factors. A clip that is the
        only one of its class deviates from the mean of all classes, scaled to the deviations inside classes.
        """
        clips = np.bincount(self._classes)
        means = np.bincount(self._classes, values) / clips
        several = clips > 1
        deviation = values - np.where(several, means, means.mean())[self._classes]
        alone = ~several[self._classes]
        if alone.any() and several.any() and deviation[alone].any():
            inside = (deviation[~alone] ** 2).sum() / (clips[several] - 1).sum()
            deviation[alone] *= np.sqrt(inside / (deviation[alone] ** 2).mean())
        deviation /= (len(clips) * clips)[self._classes]
        factor = np.where(several, clips / np.maximum(clips - 1, 1), 1.0)[self._classes]
        of_units = np.bincount(self._units, factor * deviation)
        return float((of_units**2).sum() - ((factor**2 - factor) * deviation**2).sum())


def signer_units(signer_ids: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """The unit of each clip when signers are drawn; a clip of an unknown signer ("") is a unit of its own.

    None if no signer is known, or all clips are of one signer.
    """
    number_of = {signer: i for i, signer in enumerate(sorted(set(signer_ids), key=signer_order))}
    signers = np.array([number_of[signer] for signer in signer_ids], dtype=np.int64)
    unknown = np.array([signer == "" for signer in signer_ids])
    units = np.where(unknown, -1 - np.arange(len(signers)), signers)
    return None if unknown.all() or len(np.unique(units)) < 2 else units
