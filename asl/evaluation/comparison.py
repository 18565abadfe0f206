"""Comparison of models on the same clips, and the spread of one model over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from asl.data.split import WLASL_AUTHORS
from asl.evaluation.accuracy import Bootstraps, Estimate, bootstraps, hits, known_ks, resampled_interval
from asl.evaluation.intervals import AVERAGES, LEVEL, Flags, Interval, Over, mean
from asl.evaluation.predictions import Prediction, PredictionsError
from asl.messages import first_few


@dataclass(frozen=True)
class Difference:
    """A top-k accuracy of two models."""

    first: float
    second: float
    difference: Estimate  # second - first; its intervals are paired: each resample has the same clips of both


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test of equal top-1 accuracy over instances. Clips count as independent."""

    only_first: int  # clips that only the first model recognises
    only_second: int
    p_value: float  # two-sided


@dataclass(frozen=True)
class Comparison:
    """The second model against the first one."""

    clips: int
    accuracy: dict[int, dict[Over, Difference]]  # by k and by how it averages
    mcnemar: McNemar


@dataclass(frozen=True)
class Spread:
    """A top-k accuracy of runs that differ in their seed only."""

    values: tuple[float, ...]
    mean: float
    deviation: float  # standard deviation between runs, with n - 1
    interval: Interval  # Student's t for the mean over seeds, on these clips, within [0, 1]


def align(tables: Mapping[str, Sequence[Prediction]]) -> list[list[Prediction]]:
    """The predictions of several files in the order of the first one.

    Args:
        tables: predictions by the name of their file, which messages give.

    Raises:
        PredictionsError: the files are not for the same clips with the same glosses, or not of one protocol.
    """
    (first_name, first), *others = tables.items()
    aligned = [list(first)]
    for name, predictions in others:
        by_id, known = {one.video_id: one for one in predictions}, {one.video_id for one in first}
        for alone, here, there in (
            (known - by_id.keys(), first_name, name),
            (by_id.keys() - known, name, first_name),
        ):
            if alone:
                raise PredictionsError(
                    f"{len(alone)} clips of {here} are not in {there}: {first_few(sorted(alone))}. Only "
                    "predictions for the same clips can be compared: use the same manifest and split for both"
                )
        ordered = [by_id[one.video_id] for one in first]
        for one, other in zip(first, ordered, strict=True):
            if (one.gloss, one.label) != (other.gloss, other.label):
                raise PredictionsError(
                    f"clip {one.video_id} is {one.gloss!r} (label {one.label}) in {first_name} and "
                    f"{other.gloss!r} (label {other.label}) in {name}. Use the same manifest for both"
                )
        protocols = {one.split == WLASL_AUTHORS for one in (*first, *ordered)}
        if len(protocols) > 1:
            raise PredictionsError(
                f"one of {first_name} and {name} is of protocol={WLASL_AUTHORS}, whose epoch was chosen on "
                "these clips, and the other one is not. Compare runs with the same protocol"
            )
        aligned.append(ordered)
    return aligned


def compare(
    first: Sequence[Prediction], second: Sequence[Prediction], *, resamples: int, seed: int
) -> Comparison:
    """Compare two models.

    Args:
        first: predictions of the first model.
        second: predictions of the second one for the same clips in the same order, see :func:`align`.
        resamples: resamples of each bootstrap.
        seed: of the bootstraps.
    """
    drawn = bootstraps(first, resamples=resamples, seed=seed)
    labels = [one.label for one in first]
    return Comparison(
        clips=len(first),
        accuracy={
            k: {over: _difference(labels, hits(first, k), hits(second, k), over, drawn) for over in AVERAGES}
            for k in known_ks(first)
        },
        mcnemar=mcnemar(hits(first, 1), hits(second, 1)),
    )


def _difference(
    labels: Sequence[int], first: Flags, second: Flags, over: Over, drawn: Bootstraps
) -> Difference:
    values = mean(labels, first, over), mean(labels, second, over)
    gained = second.astype(int) - first
    by_clip, by_signer = (
        resampled_interval(gained, over, bootstrap, lowest=-1)
        for bootstrap in (drawn.by_clip, drawn.by_signer)
    )
    return Difference(*values, Estimate(values[1] - values[0], by_clip, by_signer))


def mcnemar(first: Flags, second: Flags) -> McNemar:
    """Test whether two models that give ``first`` and ``second`` (N,) are equally accurate."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    different = only_first + only_second
    p_value = float(stats.binomtest(only_second, different).pvalue) if different else 1.0
    return McNemar(only_first, only_second, p_value)


def seed_spread(runs: Sequence[Sequence[Prediction]]) -> dict[int, dict[Over, Spread]]:
    """The spread of each top-k accuracy over at least two runs, see :func:`align`."""
    labels = [one.label for one in runs[0]]
    return {
        k: {over: _spread([mean(labels, hits(run, k), over) for run in runs]) for over in AVERAGES}
        for k in known_ks(runs[0])
    }


def _spread(values: Sequence[float]) -> Spread:
    average, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    margin = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * deviation / len(values) ** 0.5
    interval = max(0.0, average - margin), min(1.0, average + margin)
    return Spread(tuple(values), average, deviation, interval)
