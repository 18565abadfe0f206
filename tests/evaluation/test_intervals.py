"""Intervals: equal to scipy's where scipy has them, and covering the true value as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from asl.evaluation.intervals import Bootstrap, mean, signer_units, wilson
from benchmarks.intervals import SCENARIOS, cover


def test_wilsons_interval_is_the_solution_of_its_equation() -> None:
    z = stats.norm.ppf(0.975)
    for correct, count in ((0, 7), (3, 7), (7, 7), (150, 258)):
        for bound in wilson(correct, count):  # |share - p| = z * sqrt(p (1 - p) / n)
            error = (correct / count - bound) ** 2
            assert error == pytest.approx(z**2 * bound * (1 - bound) / count, abs=1e-9)


def example(seed: int, clips: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes, signers and hits of clips."""
    rng = np.random.default_rng(seed)
    classes, signers = rng.integers(10, size=clips), rng.integers(15, size=clips)
    return classes, signers, rng.random(clips) < 0.5 + 0.03 * signers


@pytest.mark.parametrize("over", ["instances", "classes"])
def test_a_resample_has_whole_signers(over) -> None:
    classes, signers, hits = example(0)
    bootstrap = Bootstrap(classes, signers, resamples=50, seed=3)
    resampled = bootstrap.resampled(hits, over)
    draws = np.random.default_rng(3).multinomial(15, [1 / 15] * 15, size=50)
    for value, times in zip(resampled, draws, strict=True):
        clips = np.repeat(np.arange(len(classes)), times[signers])
        assert value == pytest.approx(mean(classes[clips], hits[clips], over))


@pytest.mark.parametrize("by_signer", [False, True])
@pytest.mark.parametrize("over", ["instances", "classes"])
def test_an_interval_is_that_of_scipys_bootstrap(over, by_signer) -> None:
    """With 20 clips a class and 40 signers, expanding and scaling change little."""
    rng = np.random.default_rng(5)
    classes, signers = np.repeat(np.arange(20), 20), rng.integers(40, size=400)
    hits = rng.random(400) < 0.3 + 0.5 * (signers % 2)
    units = signers if by_signer else np.arange(400)
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]

    def statistic(drawn: np.ndarray) -> float:
        clips = np.concatenate([members[unit] for unit in drawn])
        return mean(classes[clips], hits[clips], over)

    expected = stats.bootstrap(
        (np.arange(len(members)),),
        statistic,
        n_resamples=1500,
        method="percentile",
        vectorized=False,
        random_state=0,
    ).confidence_interval
    found = Bootstrap(classes, units, resamples=4000, seed=1).interval(hits, over)
    width = expected.high - expected.low
    assert found == pytest.approx(expected, abs=0.1 * width)


def test_few_signers_give_a_wide_interval_and_the_same_seed_the_same_one() -> None:
    classes, signers, hits = example(1)
    by_clip = Bootstrap(classes, seed=0).interval(hits, "instances")
    by_signer = Bootstrap(classes, signers, seed=0).interval(hits, "instances")
    assert by_signer[1] - by_signer[0] > by_clip[1] - by_clip[0]
    assert by_signer == Bootstrap(classes, signers, seed=0).interval(hits, "instances")
    assert by_signer != Bootstrap(classes, signers, seed=1).interval(hits, "instances")


def test_clips_of_unknown_signers_are_drawn_one_by_one() -> None:
    units = signer_units(["4", "", "4", ""])
    assert units is not None
    assert units[0] == units[2]
    assert len(set(units.tolist())) == 3
    assert list(signer_units(["10", "9", "P1", "10"])) == [1, 0, 2, 1]  # numbers in numerical order
    assert signer_units(["", ""]) is None
    assert signer_units(["4", "4"]) is None


def test_classes_without_clips_do_not_count() -> None:
    assert mean([0, 0, 7], np.array([True, False, True]), "classes") == 0.75
    assert mean([0, 0, 7], np.array([True, False, True]), "instances") == pytest.approx(2 / 3)


@pytest.mark.parametrize("scenario", [SCENARIOS[1], SCENARIOS[4]], ids=lambda scenario: scenario.name)
def test_intervals_cover_the_true_value(scenario) -> None:
    """A short version of benchmarks/intervals.py; two standard errors of 400 draws are 2 percent points."""
    shares = cover(scenario, draws=400, resamples=250, seed=0)
    if scenario.signers is not None:
        shares = {name: share for name, share in shares.items() if name.endswith("by signer")}
    assert all(0.92 <= share <= 0.98 for share in shares.values()), shares
