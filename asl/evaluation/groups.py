"""Clips in groups: clean or flagged, of signers that training knows or not, by web site."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asl.evaluation.accuracy import hits
from asl.evaluation.intervals import Interval, mean, wilson
from asl.evaluation.predictions import Prediction

UNKNOWN = "unknown"


@dataclass(frozen=True)
class GroupResult:
    """The top-1 accuracy of one group."""

    clips: int
    instances: float
    interval: Interval  # Wilson's
    classes: float  # mean over the classes with clips in the group


def _flagged(one: Prediction) -> str:
    return "clean" if one.is_clean else "flagged"


def _signer(one: Prediction) -> str:
    if one.signer_in_train is None:
        return UNKNOWN
    return "in training" if one.signer_in_train else "not in training"


def _site(one: Prediction) -> str:
    return one.site or UNKNOWN


#: Ways to group clips, and the name of a clip's group.
GROUPINGS: dict[str, Callable[[Prediction], str]] = {"flags": _flagged, "signer": _signer, "site": _site}


def group_results(predictions: Sequence[Prediction]) -> dict[str, dict[str, GroupResult]]:
    """For each of :data:`GROUPINGS` the result of each group with clips, the largest group first."""
    results = {}
    for grouping, name_of in GROUPINGS.items():
        groups: dict[str, list[Prediction]] = defaultdict(list)
        for one in predictions:
            groups[name_of(one)].append(one)
        ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        results[grouping] = {name: _result(members) for name, members in ordered}
    return results


def _result(predictions: Sequence[Prediction]) -> GroupResult:
    labels, hit = [one.label for one in predictions], hits(predictions, 1)
    return GroupResult(
        clips=len(predictions),
        instances=mean(labels, hit, "instances"),
        interval=wilson(int(hit.sum()), len(hit)),
        classes=mean(labels, hit, "classes"),
    )
