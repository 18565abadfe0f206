"""How many clips of the official split there are. Many of WLASL's videos can no longer be downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asl.contract.manifest import Clip
from asl.data.split import OFFICIAL, WLASL_AUTHORS
from asl.datasets.instance import Metadata


@dataclass(frozen=True)
class Coverage:
    """The clips that are measured, of those that the metadata has."""

    clips: int
    official: int | None  # instances of the split in the metadata; None if unknown
    reason: str = ""  # why it is unknown


def measure_coverage(
    clips: Sequence[Clip], metadata: Metadata | None, *, split: str, split_name: str
) -> Coverage:
    """Count the instances of the split in the metadata.

    Args:
        clips: those that are measured.
        metadata: of the data set. None: it cannot be read.
        split: train, val or test.
        split_name: of the checkpoint. Folds have no size of their own.
    """

    def unknown(reason: str) -> Coverage:
        return Coverage(len(clips), None, reason)

    if len({clip.dataset for clip in clips}) > 1:
        return unknown("the clips are of several data sets")
    if split_name not in (OFFICIAL, WLASL_AUTHORS):
        return unknown("folds are made of the clips that are there")
    if metadata is None:
        return unknown("the data set's metadata cannot be read")
    official = {instance.video_id for instance in metadata.instances if instance.split == split}
    others = sum(clip.video_id not in official for clip in clips)
    if others:
        return unknown(f"{others} of the clips are not in the {split} split of the data set's metadata")
    return Coverage(len(clips), len(official))
