"""Pairs of instances that show the same video or segment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from asl.contract.manifest import FLAGS, copy_flags
from asl.datasets.instance import Instance
from asl.preprocess.audit.confirm import Comparison
from asl.preprocess.audit.same_content import propose_copies
from asl.preprocess.sources.names import video_key

Kind = Literal["same segment", "overlapping segments", "same content"]
KINDS: tuple[Kind, ...] = ("same segment", "overlapping segments", "same content")

#: Compares proposed pairs of clips, see :func:`asl.preprocess.audit.confirm.compare_proposals`.
Compare = Callable[[Sequence[tuple[str, str]]], Sequence[Comparison]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two instances that show the same, as the metadata or the clips' content says."""

    kind: Kind
    first: str  # video_id
    second: str
    splits: tuple[str, str]
    glosses: tuple[str, str]
    url: str  # of the first
    similarity: float | None = None  # see :class:`Comparison`; None if the metadata names the pair

    @property
    def is_leakage(self) -> bool:
        """Whether the two are in different splits."""
        return self.splits[0] != self.splits[1]

    @property
    def is_conflict(self) -> bool:
        """Whether the two have different glosses."""
        return self.glosses[0] != self.glosses[1]

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that both clips get in the manifest."""
        flags = copy_flags((self.splits[0], self.glosses[0]), (self.splits[1], self.glosses[1]))
        return tuple(flag for flag in FLAGS if flag in flags)

    def other(self, video_id: str) -> str:
        """The video_id of the other instance of the pair."""
        return self.second if video_id == self.first else self.first


def find_pairs(
    instances: Sequence[Instance], fingerprints: Mapping[str, tuple[str, float]], compare: Compare
) -> tuple[list[Pair], list[Comparison]]:
    """All pairs: first those of the metadata, then copies that only the content of the clips shows.

    Args:
        instances: all of the data set, each with the split that it is used in.
        fingerprints: by video_id of a clip, its fingerprint as text and its duration in seconds.
        compare: called with the pairs that the fingerprints propose and the metadata does not name.

    Returns:
        The pairs, and the comparisons that did not confirm a proposed pair.
    """
    instance_of = {instance.video_id: instance for instance in instances}
    by_segment = list(shared_segments(instances))
    known = {(pair.first, pair.second) for pair in by_segment}
    compared = compare([pair for pair in propose_copies(fingerprints) if pair not in known])
    by_content = [
        make_pair("same content", instance_of[one.first], instance_of[one.second], one.similarity)
        for one in compared
        if one.confirmed
    ]
    return [*by_segment, *by_content], [one for one in compared if not one.confirmed]


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
    """Yield pairs of instances whose segments of one video overlap, in the order of their video_ids."""
    segments: dict[str, list[tuple[Fraction, Fraction | None, Instance]]] = defaultdict(list)
    for instance in instances:
        segments[video_key(instance)].append((instance.start_s, instance.end_s, instance))
    pairs = []
    for group in segments.values():
        group.sort(key=lambda segment: (segment[0], segment[2].video_id))
        for i, (start_s, end_s, instance) in enumerate(group):
            for other_start_s, other_end_s, other in group[i + 1 :]:
                if end_s is not None and other_start_s >= end_s:
                    break  # all later segments start later still
                equal = (start_s, end_s) == (other_start_s, other_end_s)
                pairs.append(make_pair("same segment" if equal else "overlapping segments", instance, other))
    yield from sorted(pairs, key=lambda pair: (pair.first, pair.second))
