"""Assign clips to train, val and test: the official split, folds without common signers, or WLASL's protocol.

The manifest holds the official split. Other splits are made when it is read, so all folds use the same
manifest and the same clips. Of WLASL100's 258 official test clips, 253 have a signer who is also in train.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from asl.config.setting import setting
from asl.contract.manifest import COPY_FLAGS, FLAGS, SPLITS, Clip, ManifestError, copy_flags, signer_order

OFFICIAL, SIGNER, WLASL_AUTHORS = "official", "signer", "wlasl_authors"
STANDARD = "standard"  # the protocol of the other splits: the epoch is chosen on val

#: Why figures of the split ``wlasl_authors`` are too high.
CHOSEN_ON_TEST = (
    "the network was trained on train and val, and its epoch was chosen on these test clips, as in WLASL's "
    "own code, so the figure is too high for new clips: compare it only with figures that were made so"
)


@dataclass(kw_only=True)
class SplitSettings:
    """Which split of the clips is used."""

    split: str | None = setting(
        None,
        "official: that of the data set; signer: folds in which no signer is in two splits; wlasl_authors: "
        "that of protocol=wlasl_authors, val in train; null: signer if data.fold is given, else official",
        choices=[OFFICIAL, SIGNER, WLASL_AUTHORS],
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
        """Which split it is: ``official``, ``wlasl_authors``, or ``signer, fold 0 of 5, seed 0``."""
        if not self.by_signer:
            return self.split or OFFICIAL
        return f"{SIGNER}, fold {self.fold or 0} of {self.folds}, seed {self.fold_seed}"

    @property
    def figures(self) -> dict[str, str]:
        """The figures of a run by name, each with the split that it is measured on.

        The best epoch is chosen by the first one.
        """
        return {WLASL_AUTHORS: "test"} if self.split == WLASL_AUTHORS else {"val": "val", "test": "test"}

    @property
    def selection(self) -> str:
        """The name of the figure that chooses the best epoch."""
        return next(iter(self.figures))

    def figure_on(self, split: str) -> str:
        """The name of the figure that is measured on a split; of those without one, the split's name."""
        return next((name for name, measured_on in self.figures.items() if measured_on == split), split)

    @staticmethod
    def named(name: str) -> SplitSettings:
        """The settings whose ``split_name`` is ``name``.

        Raises:
            ValueError: it is not the name of a split.
        """
        if name in (OFFICIAL, WLASL_AUTHORS):
            return SplitSettings(split=name)
        match = re.fullmatch(rf"{SIGNER}, fold (\d+) of (\d+), seed (\d+)", name)
        if match is None:
            raise ValueError(f"{name!r} is not the name of a split")
        fold, folds, seed = map(int, match.groups())
        return SplitSettings(split=SIGNER, fold=fold, folds=folds, fold_seed=seed)

    def problems(self) -> Iterator[str]:
        """Yield a message for each setting that contradicts another one."""
        if self.split in (OFFICIAL, WLASL_AUTHORS) and self.fold is not None:
            yield f"data.fold={self.fold}: needs data.split=signer (or null), not data.split={self.split}"
        if (self.fold or 0) >= self.folds:
            yield f"data.fold={self.fold}: must be below data.folds={self.folds}"


def protocol(figure: str) -> dict[str, str]:
    """The protocol of a figure, for files: ``{"protocol": "standard"}``, or another one and a note on it."""
    if figure == WLASL_AUTHORS:
        return {"protocol": WLASL_AUTHORS, "protocol_note": CHOSEN_ON_TEST}
    return {"protocol": STANDARD}


def split_clips(clips: Sequence[Clip], settings: SplitSettings) -> list[Clip]:
    """Return the clips with the split that ``settings`` select.

    With ``split=official`` they are returned unchanged. With ``split=wlasl_authors``, val clips go to train.
    With ``split=signer``, part ``fold`` is test, the next part is val and the others are train.
    scikit-learn's ``StratifiedGroupKFold`` assigns signers to parts and keeps classes as balanced as the
    signers allow. Clips of unknown signers go to train. The same clips and the same ``fold_seed`` give the
    same parts, whatever the order of the clips. The flags that describe copies are computed again for the
    new splits. The result is sorted by split; within a split the order of ``clips`` is kept.

    Raises:
        ManifestError: fewer signers are known than there are parts.
    """
    if settings.split_name == OFFICIAL:
        return list(clips)
    if settings.by_signer:
        split_of = _split_by_signer(clips, settings)
    else:
        split_of = {clip.video_id: "test" if clip.split == "test" else "train" for clip in clips}
    assigned = {clip.video_id: dataclasses.replace(clip, split=split_of[clip.video_id]) for clip in clips}
    flagged = [dataclasses.replace(clip, flags=_flags(clip, assigned)) for clip in assigned.values()]
    return sorted(flagged, key=lambda clip: SPLITS.index(clip.split))


def _split_by_signer(clips: Sequence[Clip], settings: SplitSettings) -> dict[str, str]:
    """The split of each clip by ``video_id``."""
    known = sorted((clip for clip in clips if clip.signer_id), key=lambda clip: clip.video_id)
    signers = sorted({clip.signer_id for clip in known}, key=signer_order)
    number_of = {signer: number for number, signer in enumerate(signers)}
    if len(signers) < settings.folds:
        raise ManifestError(
            f"data.split=signer: {len(signers)} known signers are too few for data.folds={settings.folds}. "
            "Set fewer folds (at least 3), or data.split=official. The data set's metadata names the signers "
            "(of dataset=csv, the column signer)"
        )
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to import

    parts = StratifiedGroupKFold(
        n_splits=settings.folds, shuffle=True, random_state=settings.fold_seed
    ).split(known, [clip.gloss for clip in known], [number_of[clip.signer_id] for clip in known])
    part_of = {known[i].video_id: part for part, (_, members) in enumerate(parts) for i in members}
    fold = settings.fold or 0
    name = {fold: "test", (fold + 1) % settings.folds: "val"}
    return {clip.video_id: name.get(part_of.get(clip.video_id, -1), "train") for clip in clips}


def _flags(clip: Clip, assigned: Mapping[str, Clip]) -> str:
    """The clip's flags, with those that describe its copies computed for the new splits."""
    flags = {flag for flag in clip.flags.split() if flag not in COPY_FLAGS}
    for copy in (assigned[video_id] for video_id in clip.copies.split() if video_id in assigned):
        flags |= copy_flags((clip.split, clip.gloss), (copy.split, copy.gloss))
    return " ".join(flag for flag in FLAGS if flag in flags)
