"""Read the clips of manifests and the glosses of their label maps, and check that training can use them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from asl.contract.label_map import check_labels, label_map_path, read_label_map
from asl.contract.manifest import SPLITS, Clip, ManifestError, manifest_name, read_manifest
from asl.data.join_manifests import UNION, join_clips, join_glosses, label_clips
from asl.data.settings import DataSettings
from asl.data.split import split_clips


@dataclass(frozen=True)
class LabelledClips:
    """The clips of one or several manifests, and their classes."""

    glosses: list[str]  # by label
    clips: list[Clip]
    left_out: int = 0  # clips whose gloss has no label


def read_clips(manifests: Sequence[Path], data: DataSettings) -> LabelledClips:
    """Read the clips with the split that ``data`` selects.

    Raises:
        ManifestError: a manifest cannot be read, manifests have a clip in common, or there is no train clip,
            no clip to choose the best epoch on, or only one gloss.
        LabelMapError: a label map is missing, or does not fit its manifest.
    """
    labelled = read_labelled_clips(manifests, data.label_map, labels=data.labels)
    clips = split_clips(labelled.clips, data)
    selection = data.figures[data.selection]
    for split, purpose in (("train", "learn from"), (selection, "choose the best epoch on")):
        if not any(clip.split == split for clip in clips):
            raise ManifestError(
                f"the manifest has no {split} clip, so there is nothing to {purpose}. Put raw videos of "
                f"the {split} split into dataset.root and run: python preprocess.py. A data set without val "
                "gets one from glosses with two videos or more"
            )
    if len({clip.label for clip in clips}) < 2:
        raise ManifestError(
            f"the manifest has only one gloss, {clips[0].gloss!r}. Training needs at least two"
        )
    return dataclasses.replace(labelled, clips=clips)


def count_flags(clips: Sequence[Clip]) -> dict[str, dict[str, int]]:
    """The number of clips by split and flag: ``{"train": {"leakage": 3}, "val": {}, "test": {}}``."""
    return {
        split: dict(Counter(flag for clip in clips if clip.split == split for flag in clip.flags.split()))
        for split in SPLITS
    }


def drop_flagged(clips: Sequence[Clip]) -> list[Clip]:
    """The clips without the training clips that are not clean, see :attr:`Clip.is_clean`.

    Raises:
        ManifestError: no training clip is left.
    """
    kept = [clip for clip in clips if clip.is_clean or clip.split != "train"]
    if not any(clip.split == "train" for clip in kept):
        raise ManifestError(
            "data.flags=drop_train: all training clips of the manifest are flagged. Set data.flags=keep"
        )
    return kept


def read_labelled_clips(
    manifests: Sequence[Path],
    label_map: str | None = None,
    *,
    labels: str = UNION,
    glosses: Sequence[str] | None = None,
) -> LabelledClips:
    """Read the clips with the official split. Those of several manifests are joined, see :func:`join_clips`.

    Args:
        manifests: the files.
        label_map: the label map of a single manifest. None: the one beside each.
        labels: which glosses of several manifests are used, see :func:`join_glosses`.
        glosses: those of a network that was trained on several manifests; they replace ``labels``.

    Raises:
        ManifestError: a manifest cannot be read, or manifests have a clip or their name in common.
        LabelMapError: a label map is missing, or does not fit its manifest.
    """
    clips_of: dict[str, list[Clip]] = {}
    glosses_of: list[list[str]] = []
    for manifest in manifests:
        clips = read_manifest(manifest)
        path = label_map_path(manifest) if label_map is None else Path(label_map)
        glosses_of.append(read_label_map(path))
        check_labels(path, glosses_of[-1], clips)
        if clips_of.setdefault(manifest_name(manifest), clips) is not clips:
            raise ManifestError(
                f"data.manifest: two manifests are named {manifest.name}. Rename one, and its label map"
            )
    if len(manifests) == 1 and glosses is None:
        return LabelledClips(glosses_of[0], clips_of[manifest_name(manifests[0])])
    joined = join_clips(clips_of)
    used = join_glosses(glosses_of, labels) if glosses is None else list(glosses)
    labelled = label_clips(joined, used)
    return LabelledClips(used, labelled, left_out=len(joined) - len(labelled))
