"""What is wrong with a data set although every clip is good: leakage, duplicates, conflicts, gaps."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from asl.contract.manifest import FLAGS, SPLITS, Clip
from asl.datasets.instance import Instance
from asl.preprocess.audit.fingerprint import same_content
from asl.preprocess.sources.names import video_key

Kind = Literal["same segment", "overlapping segments", "same content"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two instances that show, or say that they show, the same pictures."""

    kind: Kind
    first: str  # video_id
    second: str
    splits: tuple[str, str]
    glosses: tuple[str, str]
    url: str  # of the first
    similarity: float | None = None  # of the content; None where the metadata alone says so

    @property
    def is_leakage(self) -> bool:
        """The two are in different splits."""
        return self.splits[0] != self.splits[1]

    @property
    def is_conflict(self) -> bool:
        """The two have different glosses."""
        return self.glosses[0] != self.glosses[1]

    @property
    def flags(self) -> tuple[str, ...]:
        """The words of the manifest for it."""
        found = (("leakage", self.is_leakage), ("conflict", self.is_conflict))
        return tuple(flag for flag, is_so in found if is_so) or ("duplicate",)


@dataclass(frozen=True)
class Audit:
    """All that was found."""

    pairs: tuple[Pair, ...]  # among all instances, with or without a clip
    signers: dict[str, dict[str, int]]  # see signer_overlap
    missing_glosses: dict[str, list[str]]  # by split, of the clips
    small_classes: list[tuple[str, int]]  # gloss and its number of training clips
    dropped: tuple[str, ...] = ()  # video_ids taken out of train

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``audit.json``."""
        pairs = [
            {**dataclasses.asdict(pair), "leakage": pair.is_leakage, "conflict": pair.is_conflict}
            for pair in self.pairs
        ]
        return {**dataclasses.asdict(self), "pairs": pairs, "counts": self.counts()}

    def counts(self) -> dict[str, dict[str, int]]:
        """For each kind of pair: how many, across splits, under two glosses."""
        counts = {}
        for kind in ("same segment", "overlapping segments", "same content"):
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
    fingerprints: Mapping[str, tuple[str, float]],
    *,
    min_per_class: int,
) -> Audit:
    """Look at the metadata and at the finished clips.

    Args:
        instances: all of the data set, each with the split that it is used in.
        clips: the manifest's rows.
        fingerprints: of each clip, by video_id: see :mod:`asl.preprocess.audit.fingerprint`.
        min_per_class: classes with fewer training clips are listed.
    """
    instance_of = {instance.video_id: instance for instance in instances}
    by_segment = list(shared_segments(instances))
    known = {(pair.first, pair.second) for pair in by_segment}
    by_content = [
        make_pair("same content", instance_of[same.first], instance_of[same.second], same.motion)
        for same in same_content(fingerprints)
        if (same.first, same.second) not in known
    ]
    return Audit(
        pairs=(*by_segment, *by_content),
        signers={
            "instances": signer_overlap((one.split, one.signer_id, one.gloss) for one in instances),
            "clips": signer_overlap((clip.split, clip.signer_id, clip.gloss) for clip in clips),
        },
        missing_glosses=missing_glosses(clips, dict.fromkeys(one.gloss for one in instances)),
        small_classes=small_classes(clips, dict.fromkeys(one.gloss for one in instances), min_per_class),
    )


def make_pair(kind: Kind, one: Instance, other: Instance, similarity: float | None = None) -> Pair:
    """The pair in the order of the video_ids."""
    first, second = sorted((one, other), key=lambda instance: instance.video_id)
    return Pair(
        kind=kind,
        first=first.video_id,
        second=second.video_id,
        splits=(first.split, second.split),
        glosses=(first.gloss, second.gloss),
        url=first.url,
        similarity=similarity,
    )


def shared_segments(instances: Iterable[Instance]) -> Iterator[Pair]:
    """Pairs of instances whose segments of the same video overlap, in the order of their video_ids."""
    spans: dict[str, list[tuple[Fraction, Fraction | None, Instance]]] = defaultdict(list)
    for instance in instances:
        spans[video_key(instance)].append((instance.start_s, instance.end_s, instance))
    pairs = []
    for group in spans.values():
        group.sort(key=lambda span: (span[0], span[2].video_id))
        for i, (start_s, end_s, instance) in enumerate(group):
            for other_start_s, other_end_s, other in group[i + 1 :]:
                if end_s is not None and other_start_s >= end_s:
                    break  # and so do all later ones
                exact = (start_s, end_s) == (other_start_s, other_end_s)
                pairs.append(make_pair("same segment" if exact else "overlapping segments", instance, other))
    yield from sorted(pairs, key=lambda pair: (pair.first, pair.second))


def signer_overlap(rows: Iterable[tuple[str, int, str]]) -> dict[str, int]:
    """How many test rows have a signer, or a signer with this very gloss, that training has seen.

    Args:
        rows: (split, signer_id, gloss); unknown signers (-1) count as unseen.
    """
    rows = list(rows)
    seen = {signer for split, signer, _ in rows if split == "train" and signer >= 0}
    seen_gloss = {(signer, gloss) for split, signer, gloss in rows if split == "train" and signer >= 0}
    test = [(signer, gloss) for split, signer, gloss in rows if split == "test"]
    return {
        "test": len(test),
        "signer_in_train": sum(signer in seen for signer, _ in test),
        "signer_and_gloss_in_train": sum(row in seen_gloss for row in test),
    }


def missing_glosses(clips: Iterable[Clip], glosses: Iterable[str]) -> dict[str, list[str]]:
    """For each split, the glosses of which it has no clip."""
    there = {(clip.split, clip.gloss) for clip in clips}
    names = list(glosses)
    return {split: [gloss for gloss in names if (split, gloss) not in there] for split in SPLITS}


def small_classes(clips: Iterable[Clip], glosses: Iterable[str], fewer_than: int) -> list[tuple[str, int]]:
    """Glosses with too few training clips, the smallest first."""
    count = Counter(clip.gloss for clip in clips if clip.split == "train")
    small = [(gloss, count[gloss]) for gloss in glosses if count[gloss] < fewer_than]
    return sorted(small, key=lambda item: (item[1], item[0]))


def leaking_train_clips(pairs: Iterable[Pair], clips: Iterable[Clip]) -> list[str]:
    """The video_ids of training clips of which val or test has a copy as a clip."""
    split_of = {clip.video_id: clip.split for clip in clips}
    leaking = set()
    for pair in pairs:
        splits = {video_id: split_of.get(video_id) for video_id in (pair.first, pair.second)}
        if None not in splits.values() and pair.is_leakage:
            leaking |= {video_id for video_id, split in splits.items() if split == "train"}
    return sorted(leaking)


def flagged(clips: Iterable[Clip], pairs: Iterable[Pair], suspects: Iterable[str]) -> list[Clip]:
    """The clips with their flags; a pair counts only where both of it are clips of the manifest."""
    clips = list(clips)
    there = {clip.video_id for clip in clips}
    words: dict[str, set[str]] = defaultdict(set)
    for video_id in suspects:
        words[video_id].add("suspect")
    for pair in pairs:
        if pair.first in there and pair.second in there:
            words[pair.first].update(pair.flags)
            words[pair.second].update(pair.flags)
    return [
        dataclasses.replace(clip, flags=" ".join(flag for flag in FLAGS if flag in words[clip.video_id]))
        for clip in clips
    ]
