"""Splits in which no signer is on both sides; the official ones share 253 of 258 test clips' signers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from asl.datasets.instance import Instance, MetadataError


def signer_folds(instances: Sequence[Instance], *, folds: int, fold: int, seed: int) -> tuple[Instance, ...]:
    """The instances with new splits: part ``fold`` is test, the next one val, the others train.

    Signers are dealt to the parts so that classes stay as balanced as their signers allow
    (scikit-learn's ``StratifiedGroupKFold``). Instances of unknown signers go to train. The same
    instances, in any order, and the same seed give the same parts.

    Args:
        instances: as the metadata has them; their splits are replaced.
        folds: how many parts, at least 3.
        fold: which one is test, from 0.
        seed: of the dealing.

    Raises:
        MetadataError: ``fold`` is not below ``folds``, or there are fewer signers than parts.
    """
    if fold >= folds:
        raise MetadataError(f"dataset.fold={fold}: must be below dataset.folds={folds}")
    known = sorted((one for one in instances if one.signer_id >= 0), key=lambda one: one.video_id)
    signers = {one.signer_id for one in known}
    if len(signers) < folds:
        raise MetadataError(
            f"dataset.split=signer: {len(signers)} known signers are too few for dataset.folds={folds}"
        )
    from sklearn.model_selection import StratifiedGroupKFold  # a second to import, and seldom needed

    parts = StratifiedGroupKFold(n_splits=folds, shuffle=True, random_state=seed).split(
        known, [one.gloss for one in known], [one.signer_id for one in known]
    )
    part_of = {known[i].video_id: part for part, (_, members) in enumerate(parts) for i in members}
    name = {fold: "test", (fold + 1) % folds: "val"}
    return tuple(
        dataclasses.replace(one, split=name.get(part_of.get(one.video_id, -1), "train")) for one in instances
    )
