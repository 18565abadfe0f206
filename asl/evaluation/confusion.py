"""Which glosses are recognised, and for what the others are taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from asl.evaluation.intervals import Interval, wilson
from asl.evaluation.predictions import Prediction


@dataclass(frozen=True)
class ClassResult:
    """A gloss with clips."""

    gloss: str
    clips: int
    correct: int  # by top-1
    interval: Interval  # Wilson's, of the share of correct clips
    predicted: int  # clips of any gloss that are taken for this one


@dataclass(frozen=True)
class Confusion:
    """Clips of one gloss that are taken for another one."""

    gloss: str
    predicted: str
    clips: int
    of: int  # clips of ``gloss``


def class_results(predictions: Sequence[Prediction]) -> list[ClassResult]:
    """A row for each gloss with clips, in the order of labels."""
    clips = Counter(one.gloss for one in predictions)
    correct = Counter(one.gloss for one in predictions if one.rank == 1)
    predicted = Counter(one.predicted for one in predictions)
    label_of = {one.gloss: one.label for one in predictions}
    return [
        ClassResult(
            gloss, clips[gloss], correct[gloss], wilson(correct[gloss], clips[gloss]), predicted[gloss]
        )
        for gloss in sorted(clips, key=label_of.__getitem__)
    ]


def confusions(predictions: Sequence[Prediction]) -> list[Confusion]:
    """All pairs that are confused, the most frequent first, and of these the larger share of clips."""
    clips = Counter(one.gloss for one in predictions)
    pairs = Counter((one.gloss, one.predicted) for one in predictions if one.rank > 1)
    found = [Confusion(gloss, taken, count, clips[gloss]) for (gloss, taken), count in pairs.items()]
    return sorted(found, key=lambda pair: (-pair.clips, pair.of, pair.gloss, pair.predicted))
