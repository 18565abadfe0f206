"""Which split each clip belongs to: the official one, or folds in which no signer is in two splits.

The manifest keeps the official split. Other splits are made when it is read, so five folds share one
manifest and its clips. Of WLASL100's 258 official test clips, 253 have a signer who is in train too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from asl.config.setting import setting
from asl.contract.manifest import COPY_FLAGS, FLAGS, SPLITS, Clip, ManifestError, copy_flags

OFFICIAL, SIGNER = "official", "signer"


@dataclass(kw_only=True)
class SplitSettings:
    """Which split is used."""

    split: str | None = setting(
        None,
        "official: the data set's own; signer: folds in which no signer is in two splits; null: signer if "
        "data.fold is given, else official",
        choices=[OFFICIAL, SIGNER],
    )
    folds: int = setting(5, "split=signer: parts; one is test, the next val, the others train", ge=3)
    fold: int | None = setting(None, "split=signer: which part is test, from 0; null: 0", ge=0)
    fold_seed: int = setting(0, "split=signer: of dealing signers to parts; seed does not change them", ge=0)

    @property
    def by_signer(self) -> bool:
        """Whether the clips are split by signer."""
        return self.split == SIGNER or (self.split is None and self.fold is not None)

    def problems(self) -> Iterator[str]:
        """Settings that contradict each other."""
        if self.split == OFFICIAL and self.fold is not None:
            yield f"data.fold={self.fold}: is of data.split=signer, not of data.split=official"
        if (self.fold or 0) >= self.folds:
            yield f"data.fold={self.fold}: must be below data.folds={self.folds}"


def split_clips(clips: Sequence[Clip], settings: SplitSettings) -> list[Clip]:
    """The clips with the split that ``settings`` ask for, by split and in the manifest's order.

    With ``split=signer``, part ``fold`` is test, the next one val, the others train. Signers are dealt to
    the parts so that classes stay as balanced as their signers allow (scikit-learn's
    ``StratifiedGroupKFold``). Clips of unknown signers go to train. The same clips and the same
    ``fold_seed`` give the same parts. Flags that speak of copies are set anew.

    Raises:
        ManifestError: there are fewer known signers than parts.
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
    dealt = {
        clip.video_id: dataclasses.replace(clip, split=name.get(part_of.get(clip.video_id, -1), "train"))
        for clip in clips
    }
    flagged = [dataclasses.replace(clip, flags=_flags(clip, dealt)) for clip in dealt.values()]
    return sorted(flagged, key=lambda clip: SPLITS.index(clip.split))


def _flags(clip: Clip, dealt: Mapping[str, Clip]) -> str:
    """The clip's flags; what they say of its copies holds for the new splits."""
    flags = {flag for flag in clip.flags.split() if flag not in COPY_FLAGS}
    for copy in (dealt[video_id] for video_id in clip.copies.split() if video_id in dealt):
        flags |= copy_flags((clip.split, clip.gloss), (copy.split, copy.gloss))
    return " ".join(flag for flag in FLAGS if flag in flags)
