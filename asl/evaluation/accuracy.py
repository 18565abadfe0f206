"""Top-k accuracy over instances and over classes, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from asl.evaluation.intervals import AVERAGES, Bootstrap, Flags, Interval, Over, mean, signer_units, wilson
from asl.evaluation.predictions import Prediction

KS = (1, 5, 10)


@dataclass(frozen=True)
class Estimate:
    """A figure with 95 % intervals."""

    value: float
    interval: Interval | None  # as if clips were independent; None: there is one clip, so nothing to resample
    interval_by_signer: Interval | None  # None: no signer is known, or there is only one


#: Estimates by k and by how they average.
Accuracies = dict[int, dict[Over, Estimate]]


def hits(predictions: Sequence[Prediction], k: int) -> Flags:
    """Whether the gloss of each clip is among its first k: ``(N,)``."""
    return np.array([one.rank for one in predictions]) <= k


def known_ks(predictions: Sequence[Prediction]) -> list[int]:
    """Those of :data:`KS` that are at most the number of glosses: ``[1, 5]`` for eight glosses."""
    return [k for k in KS if k <= len(predictions[0].top)]


@dataclass(frozen=True)
class Bootstraps:
    """Resamples of the clips, and of the signers."""

    by_clip: Bootstrap | None  # None: there is one clip
    by_signer: Bootstrap | None  # None: no signer is known, or there is only one


def bootstraps(predictions: Sequence[Prediction], *, resamples: int, seed: int) -> Bootstraps:
    """Draw resamples of clips and of signers.

    Args:
        predictions: only their labels and signers are used.
        resamples: how many of each kind.
        seed: of the draws.
    """
    labels = [one.label for one in predictions]
    units = signer_units([one.signer_id for one in predictions])
    return Bootstraps(
        by_clip=Bootstrap(labels, resamples=resamples, seed=seed) if len(labels) > 1 else None,
        by_signer=None if units is None else Bootstrap(labels, units, resamples=resamples, seed=seed),
    )


def measure(predictions: Sequence[Prediction], *, resamples: int, seed: int) -> Accuracies:
    """The share of clips whose gloss is among the first k, for each k of :func:`known_ks`.

    Args:
        predictions: at least one.
        resamples: resamples of each bootstrap.
        seed: of the bootstraps.
    """
    drawn = bootstraps(predictions, resamples=resamples, seed=seed)
    labels = [one.label for one in predictions]
    return {
        k: {over: _estimate(labels, hits(predictions, k), over, drawn) for over in AVERAGES}
        for k in known_ks(predictions)
    }


def _estimate(labels: Sequence[int], hit: Flags, over: Over, drawn: Bootstraps) -> Estimate:
    if over == "instances":
        interval: Interval | None = wilson(int(hit.sum()), len(hit))
    else:
        interval = resampled_interval(hit, over, drawn.by_clip)
    return Estimate(mean(labels, hit, over), interval, resampled_interval(hit, over, drawn.by_signer))


def resampled_interval(
    values: npt.ArrayLike, over: Over, bootstrap: Bootstrap | None, *, lowest: float = 0.0
) -> Interval | None:
    """The bootstrap's interval of the mean of values ``(N,)`` from ``lowest`` to 1. None without bootstrap.

    If all values are equal, resamples say nothing: as many units may have other values as Wilson's interval
    allows if none of those that there are has.
    """
    if bootstrap is None:
        return None
    values = np.asarray(values, np.float64)
    value = float(values[0])
    if (values != value).any():
        return bootstrap.interval(values, over)
    others = wilson(0, bootstrap.num_units)[1]
    return value - others * (value - lowest), value + others * (1 - value)
