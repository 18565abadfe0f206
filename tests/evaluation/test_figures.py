"""Figures of made-up predictions: equal to scikit-learn's and scipy's, and right by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_predictions import predictions_for, random_predictions
from recomputed_metrics import check_metrics
from scipy import stats

from asl.evaluation.accuracy import measure
from asl.evaluation.calibration import calibrate
from asl.evaluation.comparison import align, compare, mcnemar, seed_spread
from asl.evaluation.inference import UNCHANGED
from asl.evaluation.intervals import wilson
from asl.evaluation.predictions import PredictionsError, write_predictions
from asl.evaluation.run import plain, summarize


def test_figures_are_those_of_scikit_learn_and_scipy(tmp_path: Path) -> None:
    predictions = {UNCHANGED: random_predictions(0), "reverse": random_predictions(1, skill=0.5)}
    write_predictions(tmp_path / "predictions.csv", predictions[UNCHANGED])
    write_predictions(tmp_path / "predictions_reverse.csv", predictions["reverse"])
    check_metrics(plain(summarize(predictions, resamples=2000, seed=0)), tmp_path)


def test_a_clip_that_is_only_a_duplicate_is_clean_in_groups_and_figures() -> None:
    """As in training, whose ``test_top1_clean`` is the same figure."""
    flags = ["duplicate", "", "suspect duplicate", "leakage"]
    predictions = predictions_for([0, 0, 0, 1], [[0.9, 0.1], [0.1, 0.9], [0.9, 0.1], [0.1, 0.9]], flags=flags)
    figures = plain(summarize({UNCHANGED: predictions}, resamples=1000, seed=0))
    assert {name: one["clips"] for name, one in figures["groups"]["flags"].items()} == {
        "clean": 2,
        "flagged": 2,
    }
    assert figures["clean_clips"] == 2
    clean = figures["accuracy_clean"]["top1"]["instances"]
    assert clean["value"] == 0.5 == figures["groups"]["flags"]["clean"]["instances"]
    assert clean["interval"] == figures["groups"]["flags"]["clean"]["interval"]
    assert figures["accuracy"]["top1"]["instances"]["value"] == 0.75


@pytest.mark.parametrize("flag", ["duplicate", "suspect"])
def test_figures_of_clean_clips_are_left_out_if_all_clips_are_clean_or_none_is(flag: str) -> None:
    predictions = predictions_for([0, 1], [[0.9, 0.1], [0.1, 0.9]], flags=[flag, flag])
    assert summarize({UNCHANGED: predictions}, resamples=1000, seed=0)["accuracy_clean"] is None


def test_a_class_that_is_predicted_but_has_no_clip_does_not_lower_the_mean_over_classes() -> None:
    """torchmetrics' macro average counts it as 0."""
    predictions = predictions_for([0, 0, 1, 1], [[0.8, 0.1, 0.1]] * 2 + [[0.1, 0.8, 0.1], [0.1, 0.2, 0.7]])
    top1 = measure(predictions, resamples=1000, seed=0)[1]
    assert top1["classes"].value == 0.75


def test_top_k_is_left_out_where_there_are_fewer_glosses() -> None:
    assert list(measure(random_predictions(0, classes=8), resamples=1000, seed=0)) == [1, 5]
    assert list(measure(random_predictions(0, classes=3), resamples=1000, seed=0)) == [1]


def test_if_all_clips_are_right_no_interval_is_empty() -> None:
    predictions = predictions_for([0, 1] * 4, [[0.9, 0.1], [0.2, 0.8]] * 4, signers=[*"00112233"])
    top1 = measure(predictions, resamples=1000, seed=0)[1]
    for over, units in (("instances", 8), ("classes", 8)):
        assert top1[over].interval == wilson(units, units)
        assert top1[over].interval_by_signer == wilson(4, 4)


def test_one_clip_and_unknown_signers_have_no_interval_from_resamples() -> None:
    top1 = measure(predictions_for([0], [[0.9, 0.1]]), resamples=1000, seed=0)[1]
    assert top1["classes"].interval is None
    assert top1["instances"].interval_by_signer is None
    assert top1["instances"].interval == wilson(1, 1)


def test_a_probability_of_one_is_in_the_last_bin() -> None:
    calibration = calibrate(predictions_for([0, 1], [[1.0, 0.0], [1.0, 0.0]]))
    assert calibration.bins[-1].clips == 2
    assert calibration.ece == 0.5


def test_a_paired_difference_is_narrower_than_two_intervals_and_is_that_of_scipy() -> None:
    first = random_predictions(3, clips=300, skill=2.0)
    better = [
        dataclasses.replace(one, rank=1) if i % 10 == 0 and one.rank > 1 else one
        for i, one in enumerate(first)
    ]
    found = compare(first, better, resamples=2000, seed=0)
    top1 = found.accuracy[1]["instances"]
    gained = np.array([one.rank > 1 and other.rank == 1 for one, other in zip(first, better, strict=True)])
    assert found.mcnemar.only_first == 0
    assert found.mcnemar.only_second == gained.sum()
    assert top1.difference.value == pytest.approx(gained.mean())
    expected = stats.bootstrap((gained,), np.mean, n_resamples=2000, method="percentile", random_state=0)
    assert top1.difference.interval == pytest.approx(tuple(expected.confidence_interval), abs=0.006)
    alone = measure(first, resamples=2000, seed=0)[1]["instances"].interval
    assert alone is not None
    assert top1.difference.interval is not None
    assert top1.difference.interval[1] - top1.difference.interval[0] < alone[1] - alone[0]


def test_models_that_are_right_on_the_same_clips_may_still_differ_on_others() -> None:
    first = predictions_for([0, 1] * 4, [[0.9, 0.1], [0.2, 0.8]] * 4, signers=[*"00112233"])
    wrong = [dataclasses.replace(one, rank=2) for one in first]
    by_clip, by_signer = wilson(0, 8)[1], wilson(0, 4)[1]
    for over in ("instances", "classes"):
        same = compare(first, first, resamples=1000, seed=0).accuracy[1][over].difference
        assert same.interval == pytest.approx((-by_clip, by_clip))
        assert same.interval_by_signer == pytest.approx((-by_signer, by_signer))
        worse = compare(first, wrong, resamples=1000, seed=0).accuracy[1][over].difference
        assert (worse.value, worse.interval) == (-1, pytest.approx((-1, -1 + 2 * by_clip)))


def test_mcnemars_test_is_exact() -> None:
    first = np.array([True] * 9 + [False] * 2 + [True] * 50)
    second = np.array([False] * 9 + [True] * 2 + [True] * 50)
    tail = stats.binom(11, 0.5).cdf(2)
    assert mcnemar(first, second).p_value == pytest.approx(2 * tail)
    assert mcnemar(first, first).p_value == 1.0


def test_the_spread_over_seeds_is_students_interval() -> None:
    runs = [
        [dataclasses.replace(one, rank=1 if i < right else 2) for i, one in enumerate(random_predictions(0))]
        for right in (30, 33, 42)
    ]
    spread = seed_spread(runs)[1]["instances"]
    expected = stats.ttest_1samp([30 / 60, 33 / 60, 42 / 60], 0).confidence_interval(0.95)
    assert spread.values == (30 / 60, 33 / 60, 42 / 60)
    assert spread.mean == pytest.approx(35 / 60)
    assert spread.deviation == pytest.approx(np.std(spread.values, ddof=1))
    assert spread.interval == pytest.approx(tuple(expected))


def test_files_are_compared_clip_by_clip_whatever_their_order() -> None:
    first = random_predictions(0)
    assert align({"a": first, "b": first[::-1]}) == [first, first]


def test_files_of_other_clips_or_glosses_are_refused() -> None:
    first = random_predictions(0)
    with pytest.raises(PredictionsError, match=r"2 clips of a are not in b: test\d+, test\d+\. Only predict"):
        align({"a": first, "b": first[2:]})
    with pytest.raises(PredictionsError, match=r"1 clips of b are not in a"):
        align({"a": first[1:], "b": first})
    renamed = [dataclasses.replace(first[0], gloss="bird"), *first[1:]]
    with pytest.raises(PredictionsError, match=r"is 'gloss \d+' \(label \d+\) in a and 'bird' .* in b"):
        align({"a": first, "b": renamed})
