"""Assign clips to train, val and test: the official split, or folds in which no signer is in two splits.

The manifest holds the official split. Other splits are made when it is read, so all folds use the same
manifest and the same clips. Of WLASL100's 258 official test clips, 253 have a signer who is also in train.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from asl.config.setting import setting
from asl.contract.manifest import COPY_FLAGS, FLAGS, SPLITS, Clip, ManifestError, copy_flags

OFFICIAL, SIGNER = "official", "signer"


@dataclass(kw_only=True)
class SplitSettings:
    """Which split of the clips is used."""

    split: str | None = setting(
        None,
        "official: that of the data set; signer: folds in which no signer is in two splits; null: signer if "
        "data.fold is given, else official",
        choices=[OFFICIAL, SIGNER],
    )
    folds: int = setting(
        5, "split=signer: number of parts; one is test, the next one val, the others train", ge=3
    )
    fold: int | None = setting(None, "split=signer: index of the test part, from 0; null: 0", ge=0)
    fold_seed: int = setting(
        0, "split=signer: seed of the assignment of signers to parts; independent of seed", ge=0
    )

    @property
    def by_signer(self) -> bool:
        """Whether the clips are split by signer."""
        return self.split == SIGNER or (self.split is None and self.fold is not None)

    @property
    def split_name(self) -> str:
        """Which split it is, in words: ``official``, or ``signer, fold 0 of 5, seed 0``."""
        if not self.by_signer:
            return OFFICIAL
        return f"{SIGNER}, fold {self.fold or 0} of {self.folds}, seed {self.fold_seed}"

    @staticmethod
    def named(name: str) -> SplitSettings:
        """The settings whose ``split_name`` is ``name``.

        Raises:
            ValueError: it is not the name of a split.
        """
        if name == OFFICIAL:
            return SplitSettings(split=OFFICIAL)
        match = re.fullmatch(rf"{SIGNER}, fold (\d+) of (\d+), seed (\d+)", name)
        if match is None:
            raise ValueError(f"{name!r} is not the name of a split")
        fold, folds, seed = map(int, match.groups())
        return SplitSettings(split=SIGNER, fold=fold, folds=folds, fold_seed=seed)

    def problems(self) -> Iterator[str]:
        """Yield a message for each setting that contradicts another one."""
        if self.split == OFFICIAL and self.fold is not None:
            yield f"data.fold={self.fold}: needs data.split=signer (or null), not data.split=official"
        if (self.fold or 0) >= self.folds:
            yield f"data.fold={self.fold}: must be below data.folds={self.folds}"


def split_clips(clips: Sequence[Clip], settings: SplitSettings) -> list[Clip]:
    """Return the clips with the split that ``settings`` select.

    With ``split=official`` they are returned unchanged. With ``split=signer``, part ``fold`` is test, the
    next part is val and the others are train. scikit-learn's ``StratifiedGroupKFold`` assigns signers to
    parts and keeps classes as balanced as the signers allow. Clips of unknown signers go to train. The same
    clips and the same ``fold_seed`` give the same parts, whatever the order of the clips. The flags that
    describe copies are computed again for the new splits. The result is sorted by split; within a split the
    order of ``clips`` is kept.

    Raises:
        ManifestError: fewer signers are known than there are parts.
    """
    if not settings.by_signer:
        return list(clips)
    known = sorted((clip for clip in clips if clip.signer_id >= 0), key=lambda clip: clip.video_id)
    signers = {clip.signer_id for clip in known}
    if len(signers) < settings.folds:
        raise ManifestError(
            f"data.split=signer: {len(signers)} known signers are too few for data.folds={settings.folds}"
        )
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

    parts = StratifiedGroupKFold(
        n_splits=settings.folds, shuffle=True, random_state=settings.fold_seed
    ).split(known, [clip.gloss for clip in known], [clip.signer_id for clip in known])
    part_of = {known[i].video_id: part for part, (_, members) in enumerate(parts) for i in members}
    fold = settings.fold or 0
    name = {fold: "test", (fold + 1) % settings.folds: "val"}
    assigned = {
        clip.video_id: dataclasses.replace(clip, split=name.get(part_of.get(clip.video_id, -1), "train"))
        for clip in clips
    }
    flagged = [dataclasses.replace(clip, flags=_flags(clip, assigned)) for clip in assigned.values()]
    return sorted(flagged, key=lambda clip: SPLITS.index(clip.split))


def _flags(clip: Clip, assigned: Mapping[str, Clip]) -> str:
    """The clip's flags, with those that describe its copies computed for the new splits."""
    flags = {flag for flag in clip.flags.split() if flag not in COPY_FLAGS}
    for copy in (assigned[video_id] for video_id in clip.copies.split() if video_id in assigned):
        flags |= copy_flags((clip.split, clip.gloss), (copy.split, copy.gloss))
    return " ".join(flag for flag in FLAGS if flag in flags)
