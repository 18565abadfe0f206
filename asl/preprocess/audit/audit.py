"""Defects of a data set whose clips are all good: leakage, duplicates, conflicts, missing classes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from asl.contract.manifest import SPLITS, Clip
from asl.datasets.instance import Instance
from asl.preprocess.audit.confirm import Comparison
from asl.preprocess.audit.pairs import KINDS, Pair


@dataclass(frozen=True)
class Audit:
    """The result of an audit."""

    pairs: tuple[Pair, ...]  # among all instances, with or without a clip
    signers: dict[str, dict[str, int]]  # see signer_overlap; of instances and of clips
    missing_glosses: dict[str, list[str]]  # by split, glosses without a clip
    small_classes: list[tuple[str, int]]  # gloss and its number of training clips
    dropped: tuple[str, ...] = ()  # video_ids of training clips that were taken out of the manifest
    rejected: tuple[Comparison, ...] = ()  # pairs that small pictures proposed as copies, not confirmed

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``{dataset}_audit.json``."""
        pairs = [
            {**dataclasses.asdict(pair), "leakage": pair.is_leakage, "conflict": pair.is_conflict}
            for pair in self.pairs
        ]
        return {**dataclasses.asdict(self), "pairs": pairs, "counts": self.counts()}

    def counts(self) -> dict[str, dict[str, int]]:
        """For each kind of pair, how many there are, how many across splits and under two glosses."""
        counts: dict[str, dict[str, int]] = {}
        for kind in KINDS:
            pairs = [pair for pair in self.pairs if pair.kind == kind]
            counts[kind] = {
                "pairs": len(pairs),
                "across_splits": sum(pair.is_leakage for pair in pairs),
                "two_glosses": sum(pair.is_conflict for pair in pairs),
            }
        return counts


def audit(
    instances: Sequence[Instance],
    clips: Sequence[Clip],
    pairs: Sequence[Pair],
    *,
    min_per_class: int,
    dropped: Iterable[str] = (),
    rejected: Iterable[Comparison] = (),
) -> Audit:
    """Audit the metadata and the finished clips.

    Args:
        instances: all of the data set, each with the split that it is used in.
        clips: the manifest's rows.
        pairs: see :func:`asl.preprocess.audit.pairs.find_pairs`.
        min_per_class: classes with fewer training clips are listed.
        dropped: video_ids of training clips that were taken out of the manifest because they leak.
        rejected: proposed copies that were not confirmed.
    """
    glosses = list(dict.fromkeys(instance.gloss for instance in instances))
    return Audit(
        pairs=tuple(pairs),
        signers={
            "instances": signer_overlap((one.split, one.signer_id, one.gloss) for one in instances),
            "clips": signer_overlap((clip.split, clip.signer_id, clip.gloss) for clip in clips),
        },
        missing_glosses=missing_glosses(clips, glosses),
        small_classes=small_classes(clips, glosses, min_per_class),
        dropped=tuple(dropped),
        rejected=tuple(rejected),
    )


def signer_overlap(rows: Iterable[tuple[str, str, str]]) -> dict[str, int]:
    """How many test rows have a signer, or a signer with the same gloss, that is in train too.

    Args:
        rows: (split, signer_id, gloss). Unknown signers ("") count as not in train.
    """
    rows = list(rows)
    signers = {signer for split, signer, _ in rows if split == "train" and signer}
    signed = {(signer, gloss) for split, signer, gloss in rows if split == "train" and signer}
    test = [(signer, gloss) for split, signer, gloss in rows if split == "test"]
    return {
        "test": len(test),
        "signer_in_train": sum(signer in signers for signer, _ in test),
        "signer_and_gloss_in_train": sum(row in signed for row in test),
        "signer_unknown": sum(not signer for signer, _ in test),
    }


def missing_glosses(clips: Iterable[Clip], glosses: Sequence[str]) -> dict[str, list[str]]:
    """For each split, the glosses without a clip."""
    present = {(clip.split, clip.gloss) for clip in clips}
    return {split: [gloss for gloss in glosses if (split, gloss) not in present] for split in SPLITS}


def small_classes(clips: Iterable[Clip], glosses: Iterable[str], fewer_than: int) -> list[tuple[str, int]]:
    """Glosses with fewer training clips than ``fewer_than``, the smallest first."""
    count = Counter(clip.gloss for clip in clips if clip.split == "train")
    small = [(gloss, count[gloss]) for gloss in glosses if count[gloss] < fewer_than]
    return sorted(small, key=lambda item: (item[1], item[0]))
