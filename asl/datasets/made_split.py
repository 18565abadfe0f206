"""Splits of data sets that do not have them: a part of train is moved, by signer or by gloss."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

from asl.datasets.instance import Instance, Metadata


def with_split(metadata: Metadata, split: str, *, share: float, seed: int) -> Metadata:
    """Move a part of train to ``split`` if the metadata has no instance there. Order is kept.

    Whole signers are moved where they are known, but none without whom a gloss would not be in train. If no
    signer can be moved, some instances of each gloss are. Which ones follows from ``seed`` and their names
    alone, so further instances change as little as possible.

    Args:
        metadata: of the data set.
        split: val or test.
        share: of the instances of train; of each gloss it is at least one, if another one is left.
        seed: of the choice.
    """
    train = [one for one in metadata.instances if one.split == "train"]
    if not train or any(one.split == split for one in metadata.instances):
        return metadata
    signers = _choose_signers(train, share, seed)
    moved = {one.video_id for one in train if one.signer_id in signers} or _choose_by_gloss(
        train, share, seed
    )
    if not moved:
        return _noted(metadata, f"there is no {split}: no gloss has two instances in train, to move one of")
    known = len({one.signer_id for one in train} - {""})
    how = f"{len(signers)} of its {known} signers" if signers else "a part of each gloss"
    made = f"{split} is {len(moved)} of {len(train)} instances of train, {how} (seed {seed})"
    instances = tuple(
        dataclasses.replace(one, split=split) if one.video_id in moved else one for one in metadata.instances
    )
    return _noted(dataclasses.replace(metadata, instances=instances), made)


def _noted(metadata: Metadata, made: str) -> Metadata:
    return dataclasses.replace(metadata, made_splits="; ".join(filter(None, [metadata.made_splits, made])))


def _choose_signers(train: Sequence[Instance], share: float, seed: int) -> set[str]:
    """Signers with about ``share`` of the instances; at least one if there is one who may be moved."""
    glosses_of: dict[str, Counter[str]] = defaultdict(Counter)
    for one in train:
        glosses_of[one.signer_id][one.gloss] += 1
    left = Counter(one.gloss for one in train)
    wanted = share * len(train)

    def may_be_moved(signer: str) -> bool:
        return all(left[gloss] > count for gloss, count in glosses_of[signer].items())

    chosen: set[str] = set()
    signers = sorted(glosses_of.keys() - {""}, key=lambda name: _draw(seed, name))
    for signer in signers:
        count = glosses_of[signer].total()
        if count <= 2 * wanted and may_be_moved(signer):  # nearer to the share with the signer than without
            chosen.add(signer)
            left -= glosses_of[signer]
            wanted -= count
    if not chosen:
        movable = filter(may_be_moved, signers)
        chosen.update(sorted(movable, key=lambda signer: glosses_of[signer].total())[:1])
    return chosen


def _choose_by_gloss(train: Sequence[Instance], share: float, seed: int) -> set[str]:
    video_ids_of: dict[str, list[str]] = defaultdict(list)
    for one in train:
        video_ids_of[one.gloss].append(one.video_id)
    chosen: set[str] = set()
    for video_ids in video_ids_of.values():
        count = min(max(1, round(share * len(video_ids))), len(video_ids) - 1)
        chosen.update(sorted(video_ids, key=lambda name: _draw(seed, name))[:count])
    return chosen


def _draw(seed: int, name: str) -> bytes:
    """A random sort key that does not depend on the other names."""
    return hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest()
