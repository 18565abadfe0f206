"""What the audit says of each clip: the manifest's columns ``flags`` and ``copies``, and clips to drop."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable

from asl.contract.manifest import FLAGS, Clip
from asl.preprocess.audit.pairs import Pair


def with_flags_and_copies(
    clips: Iterable[Clip], pairs: Iterable[Pair], suspects: Iterable[str], bitstream: Iterable[str]
) -> list[Clip]:
    """The clips with their columns ``flags`` and ``copies`` filled in.

    Args:
        clips: the rows of the manifest.
        pairs: of instances; only those of which both are among ``clips`` count.
        suspects: video_ids whose source's length, picture size or frame rate speaks against the match.
        bitstream: video_ids of clips that the host's decoder takes and the GPU's parser refuses.
    """
    clips = list(clips)
    in_manifest = {clip.video_id for clip in clips}
    flags: dict[str, set[str]] = defaultdict(set)
    copies: dict[str, set[str]] = defaultdict(set)
    for flag, video_ids in (("suspect", suspects), ("bitstream", bitstream)):
        for video_id in video_ids:
            flags[video_id].add(flag)
    for pair in pairs:
        if pair.first in in_manifest and pair.second in in_manifest:
            for video_id in (pair.first, pair.second):
                flags[video_id].update(pair.flags)
                copies[video_id].add(pair.other(video_id))
    return [
        dataclasses.replace(
            clip,
            flags=" ".join(flag for flag in FLAGS if flag in flags[clip.video_id]),
            copies=" ".join(sorted(copies[clip.video_id])),
        )
        for clip in clips
    ]


def leaking_train_clips(pairs: Iterable[Pair], clips: Iterable[Clip]) -> dict[str, list[str]]:
    """Training clips of which val or test has a copy as a clip.

    Returns:
        By video_id, in sorted order, the video_ids of all instances of val and test that are copies of
        it, with or without a clip.
    """
    split_of = {clip.video_id: clip.split for clip in clips}
    copies: dict[str, set[str]] = defaultdict(set)
    leaking = set()
    for pair in pairs:
        if not pair.is_leakage:
            continue
        for video_id in (pair.first, pair.second):
            if split_of.get(video_id) == "train":
                copies[video_id].add(pair.other(video_id))
                if pair.other(video_id) in split_of:
                    leaking.add(video_id)
    return {video_id: sorted(copies[video_id]) for video_id in sorted(leaking)}
