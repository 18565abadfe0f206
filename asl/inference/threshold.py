"""The probability from which a window counts as a sign, chosen on val."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asl.errors import UserError
from asl.evaluation.metrics_file import METRICS, evaluation_folder, older_than, other_checkpoint

#: Without a measurement.
DEFAULT_THRESHOLD = 0.5


class ThresholdError(UserError):
    """A ``metrics.json`` from which no threshold can be chosen."""


def threshold_beside(checkpoint: Path, info: Mapping[str, Any], precision: float) -> tuple[float, Path]:
    """:func:`threshold_from` the file that ``python evaluate.py split=val`` writes, and its path.

    Raises:
        ThresholdError: see :func:`threshold_from`; or the file is older than the checkpoint.
    """
    path = evaluation_folder(checkpoint, "val") / METRICS
    threshold = threshold_from(path, info, precision)
    if problem := older_than(checkpoint, path):
        raise ThresholdError(f"{path}: {problem}. Measure this one: python evaluate.py split=val")
    return threshold, path


def threshold_from(path: Path, info: Mapping[str, Any], precision: float) -> float:
    """The least confidence from which on ``precision`` of the val clips are recognised rightly.

    It is the lower edge of a bin of the calibration. Bins without clips say nothing: it is not below the
    least confidence on val.

    Args:
        path: ``metrics.json`` of ``python evaluate.py split=val``.
        info: key ``asl`` of the checkpoint that it must be of.
        precision: share of right clips among those with at least this confidence.

    Raises:
        ThresholdError: the file is missing or malformed, is not of val or of another checkpoint, or the
            precision is not reached.
    """
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
        split, problem = metrics["split"], other_checkpoint(metrics, info)
        bins = [(one["low"], one["clips"], one["accuracy"] or 0.0) for one in metrics["calibration"]["bins"]]
    except OSError as error:
        raise ThresholdError(f"{path}: {error.strerror}. python evaluate.py split=val writes it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ThresholdError(f"{path} is no metrics.json of python evaluate.py ({error!r})") from None
    if split != "val":
        raise ThresholdError(
            f"{path} is of {split} clips. A threshold is chosen on val: python evaluate.py split=val"
        )
    if problem:
        raise ThresholdError(f"{path}: {problem}. Measure this one: python evaluate.py split=val")
    return _least_confidence(bins, precision, path)


def _least_confidence(bins: Sequence[tuple[float, int, float]], precision: float, path: Path) -> float:
    least, clips, correct = None, 0, 0.0
    for low, in_bin, accuracy in reversed(bins):
        if in_bin:
            clips, correct = clips + in_bin, correct + in_bin * accuracy
            if correct >= precision * clips - 1e-9:
                least = low
    if least is None:
        raise ThresholdError(f"{path}: no confidence gives a precision of {precision:g} on val")
    return round(least, 4)
