"""The threshold that is chosen on val."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from asl.inference.threshold import ThresholdError, threshold_beside, threshold_from

INFO = {"epoch": 6, "glosses": ["book", "go"], "model": {"name": "r3d"}, "dataset": "demo"}
BINS = [(0.0, 0, None), (0.4, 10, 0.2), (0.6, 10, 0.8), (0.8, 10, 1.0)]


def written(path: Path, **changes: Any) -> Path:
    bins = [{"low": low, "clips": clips, "accuracy": accuracy} for low, clips, accuracy in BINS]
    metrics = {
        **{"split": "val", "epoch": 6, "glosses": 2, "model": "r3d", "dataset": "demo"},
        **{"data_split": "official", "calibration": {"bins": bins}},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(metrics | changes))
    return path


@pytest.mark.parametrize(("precision", "threshold"), [(1.0, 0.8), (0.9, 0.6), (0.91, 0.8), (0.1, 0.4)])
def test_it_is_the_least_confidence_from_which_val_clips_are_right(
    tmp_path: Path, precision: float, threshold: float
) -> None:
    assert threshold_from(written(tmp_path / "metrics.json"), INFO, precision) == threshold


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "test"}, "is of test clips. A threshold is chosen on val"),
        ({"epoch": 5}, r"it is of another checkpoint \(epoch 5, and here 6\)"),
        ({"model": "mc3"}, r"it is of another checkpoint \(model 'mc3', and here 'r3d'\)"),
        ({"dataset": "wlasl100"}, r"it is of another checkpoint \(dataset 'wlasl100', and here 'demo'\)"),
        ({"calibration": {}}, "is no metrics.json of python evaluate.py"),
        ({"calibration": {"bins": []}}, "no confidence gives a precision of 0.9 on val"),
    ],
)
def test_figures_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = written(tmp_path / "metrics.json", **changes)
    with pytest.raises(ThresholdError, match=message) as error:
        threshold_from(path, INFO, 0.9)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ThresholdError, match=r"best-val/metrics\.json: No such file"):
        threshold_beside(tmp_path / "best.pt", INFO, 0.9)


def test_figures_that_are_older_than_the_checkpoint_are_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "best.pt"
    checkpoint.touch()
    metrics = written(tmp_path / "evaluation" / "best-val" / "metrics.json")
    assert threshold_beside(checkpoint, INFO, 0.9) == (0.6, metrics)
    os.utime(metrics, (0, 0))
    with pytest.raises(
        ThresholdError, match=r"best-val/metrics\.json: it is older than the checkpoint\. Meas"
    ):
        threshold_beside(checkpoint, INFO, 0.9)
