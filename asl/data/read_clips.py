"""Read the clips of a manifest and the glosses of its label map, and check that training can use them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from asl.contract.label_map import check_labels, label_map_path, read_label_map
from asl.contract.manifest import SPLITS, Clip, ManifestError, read_manifest
from asl.data.settings import DataSettings
from asl.data.split import split_clips


def read_clips(manifest: Path, data: DataSettings) -> tuple[list[str], list[Clip]]:
    """Read the glosses by label, and the clips with the split that ``data`` selects.

    Raises:
        ManifestError: the manifest cannot be read, or has no train clip, no clip to choose the best epoch on,
            or only one gloss.
        LabelMapError: the label map is missing, or does not fit the manifest.
    """
    glosses, clips = read_labelled_clips(manifest, data.label_map)
    clips = split_clips(clips, data)
    selection = data.figures[data.selection]
    for split, purpose in (("train", "learn from"), (selection, "choose the best epoch on")):
        if not any(clip.split == split for clip in clips):
            raise ManifestError(
                f"the manifest has no {split} clip, so there is nothing to {purpose}. Put raw videos of "
                f"the {split} split into dataset.root and run: python preprocess.py"
            )
    if len({clip.label for clip in clips}) < 2:
        raise ManifestError(
            f"the manifest has only one gloss, {clips[0].gloss!r}. Training needs at least two"
        )
    return glosses, clips


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


def read_labelled_clips(manifest: Path, label_map: str | None = None) -> tuple[list[str], list[Clip]]:
    """Read the glosses by label, and the clips with the official split.

    Args:
        manifest: the file.
        label_map: its label map. None: the one beside it.

    Raises:
        ManifestError: the manifest cannot be read.
        LabelMapError: the label map is missing, or does not fit the manifest.
    """
    clips = read_manifest(manifest)
    path = label_map_path(manifest) if label_map is None else Path(label_map)
    glosses = read_label_map(path)
    check_labels(path, glosses, clips)
    return glosses, clips
