"""Compute the figures of ``metrics.json`` from ``predictions.csv`` with scikit-learn and scipy, and compare.

Nothing here uses code of asl.
"""

from __future__ import annotations

import csv
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

Rows = list[dict[str, str]]


def read_rows(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def check_metrics(metrics: dict[str, Any], folder: Path) -> None:
    """Compare ``metrics.json`` with the files of predictions beside it."""
    rows = read_rows(folder / "predictions.csv")
    assert metrics["clips"] == len(rows)
    assert metrics["glosses_with_clips"] == len({row["gloss"] for row in rows})
    assert metrics["signers"] == len({row["signer_id"] for row in rows} - {""})
    check_accuracies(metrics["accuracy"], rows)
    clean = [row for row in rows if is_clean(row)]
    if len(clean) in (0, len(rows)):
        assert metrics["accuracy_clean"] is None
    else:
        check_accuracies(metrics["accuracy_clean"], clean, resampled=False)  # too few clips to compare these
    for probe, accuracies in metrics["probes"].items():
        check_accuracies(accuracies, read_rows(folder / f"predictions_{probe}.csv"))
    check_calibration(metrics["calibration"], rows)
    check_confusions(metrics, rows)
    check_groups(metrics["groups"], rows)


def is_clean(row: dict[str, str]) -> bool:
    return row["flags"] in ("", "duplicate")


def top_k(rows: Rows, k: int) -> np.ndarray:
    """Whether the gloss is one of the first k in the list."""
    return np.array([row["gloss"] in [row[f"top{place}"] for place in range(1, k + 1)] for row in rows])


def instances(rows: Rows, k: int) -> float:
    return float(accuracy_score(np.ones(len(rows)), top_k(rows, k)))


def classes(rows: Rows, k: int) -> float:
    """The mean recall of the classes present: scikit-learn's balanced accuracy.

    The prediction counts as the true gloss wherever that is among the first k.
    """
    truth = [row["gloss"] for row in rows]
    taken = [
        gloss if hit else row["top1"] if row["top1"] != gloss else "other"
        for row, gloss, hit in zip(rows, truth, top_k(rows, k), strict=True)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a predicted gloss may have no clip
        return float(balanced_accuracy_score(truth, taken))


def check_accuracies(accuracies: dict[str, Any], rows: Rows, *, resampled: bool = True) -> None:
    num_glosses = sum(bool(rows[0][f"top{place}"]) for place in range(1, 11))
    assert list(accuracies) == [f"top{k}" for k in (1, 5, 10) if k <= num_glosses]
    signers = [row["signer_id"] or row["video_id"] for row in rows]
    for name, found in accuracies.items():
        k = int(name.removeprefix("top"))
        hits = top_k(rows, k)
        wilson = stats.binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
        assert found["instances"]["value"] == pytest.approx(instances(rows, k), abs=1e-9)
        assert found["instances"]["interval"] == pytest.approx(tuple(wilson), abs=1e-9)
        assert found["classes"]["value"] == pytest.approx(classes(rows, k), abs=1e-9)
        if not resampled:
            continue
        check_bootstrap(found["classes"]["interval"], rows, hits, list(map(str, range(len(rows)))), True)
        if any(row["signer_id"] for row in rows):
            check_bootstrap(found["instances"]["interval_by_signer"], rows, hits, signers, False)
            check_bootstrap(found["classes"]["interval_by_signer"], rows, hits, signers, True)


def check_bootstrap(
    interval: Sequence[float], rows: Rows, hits: np.ndarray, units: Sequence[str], over_classes: bool
) -> None:
    """Compare an interval with scipy's bootstrap over units."""
    names, unit_of = np.unique(units, return_inverse=True)
    count = len(names)
    if hits.all() or not hits.any():
        wilson = stats.binomtest(count * int(hits.all()), count).proportion_ci(0.95, method="wilson")
        assert interval == pytest.approx(tuple(wilson), abs=1e-9)
        return
    glosses = np.unique([row["gloss"] for row in rows], return_inverse=True)[1]
    members = [np.flatnonzero(unit_of == unit) for unit in range(count)]

    def statistic(drawn: np.ndarray) -> float:
        clips = np.concatenate([members[unit] for unit in drawn])
        if not over_classes:
            return float(hits[clips].mean())
        return float(np.mean([hits[clips][glosses[clips] == gloss].mean() for gloss in set(glosses[clips])]))

    resampled = stats.bootstrap(
        (np.arange(count),),
        statistic,
        n_resamples=1000,
        method="percentile",
        vectorized=False,
        random_state=0,
    ).bootstrap_distribution
    # With few units the percentiles are further out. Chance moves them by less than a factor of two, and the
    # scale over classes the ends by less than a tenth.
    tail = stats.norm.cdf(np.sqrt(count / (count - 1)) * stats.t.ppf(0.025, count - 1))
    lowest, low, high, highest = np.quantile(resampled, [tail / 2, 2 * tail, 1 - 2 * tail, 1 - tail / 2])
    margin = 0.1 * (highest - lowest)
    assert lowest - margin <= interval[0] <= low + margin
    assert high - margin <= interval[1] <= highest + margin


def check_calibration(calibration: dict[str, Any], rows: Rows) -> None:
    confidence = np.array([float(row["p1"]) for row in rows])
    correct = top_k(rows, 1)
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=15, strategy="uniform")
    counts, _ = np.histogram(confidence, bins=15, range=(0, 1))
    filled = [one for one in calibration["bins"] if one["clips"]]
    assert [one["clips"] for one in calibration["bins"]] == counts.tolist()
    assert [one["accuracy"] for one in filled] == pytest.approx(accuracy.tolist())
    assert [one["confidence"] for one in filled] == pytest.approx(mean_confidence.tolist())
    share = counts[counts > 0] / len(rows)
    assert calibration["ece"] == pytest.approx(float(share @ np.abs(accuracy - mean_confidence)), abs=1e-9)


def check_confusions(metrics: dict[str, Any], rows: Rows) -> None:
    glosses = sorted({row["gloss"] for row in rows} | {row["top1"] for row in rows})
    matrix = confusion_matrix([row["gloss"] for row in rows], [row["top1"] for row in rows], labels=glosses)
    expected = {
        (gloss, taken): matrix[i, j]
        for i, gloss in enumerate(glosses)
        for j, taken in enumerate(glosses)
        if i != j and matrix[i, j]
    }
    found = {(pair["gloss"], pair["predicted"]): pair["clips"] for pair in metrics["confusions"]}
    assert found == expected
    assert sorted(found.values(), reverse=True) == list(found.values())
    by_gloss = {one["gloss"]: one for one in metrics["classes"]}
    assert sorted(by_gloss) == sorted({row["gloss"] for row in rows})
    for i, gloss in enumerate(glosses):
        if gloss in by_gloss:
            one = by_gloss[gloss]
            assert (one["clips"], one["correct"]) == (matrix[i].sum(), matrix[i, i])
            assert one["predicted"] == matrix[:, i].sum()
            wilson = stats.binomtest(int(matrix[i, i]), int(matrix[i].sum())).proportion_ci(
                0.95, method="wilson"
            )
            assert one["interval"] == pytest.approx(tuple(wilson))


def check_groups(groups: dict[str, Any], rows: Rows) -> None:
    seen = {"yes": "in training", "no": "not in training", "": "unknown"}
    name_of = {
        "flags": lambda row: "clean" if is_clean(row) else "flagged",
        "signer": lambda row: seen[row["signer_in_train"]],
        "site": lambda row: row["site"] or "unknown",
    }
    assert groups.keys() == name_of.keys()
    for grouping, group_of in name_of.items():
        assert {name: one["clips"] for name, one in groups[grouping].items()} == Counter(map(group_of, rows))
        for name, one in groups[grouping].items():
            members = [row for row in rows if group_of(row) == name]
            assert one["instances"] == pytest.approx(instances(members, 1), abs=1e-9)
            assert one["classes"] == pytest.approx(classes(members, 1), abs=1e-9)
