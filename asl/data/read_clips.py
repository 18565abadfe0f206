"""Read the clips of a manifest and the glosses of its label map, and check that training can use them."""

from __future__ import annotations

from pathlib import Path

from asl.contract.label_map import check_labels, label_map_path, read_label_map
from asl.contract.manifest import Clip, ManifestError, read_manifest
from asl.data.settings import DataSettings
from asl.data.split import split_clips


def read_clips(manifest: Path, data: DataSettings) -> tuple[list[str], list[Clip]]:
    """Read the glosses by label, and the clips with the split that ``data`` selects.

    Raises:
        ManifestError: the manifest cannot be read, or has no train clip, no val clip, or only one gloss.
        LabelMapError: the label map is missing, or does not fit the manifest.
    """
    clips = read_manifest(manifest)
    label_map = label_map_path(manifest) if data.label_map is None else Path(data.label_map)
    glosses = read_label_map(label_map)
    check_labels(label_map, glosses, clips)
    clips = split_clips(clips, data)
    for split, purpose in (("train", "learn from"), ("val", "choose the best epoch on")):
        if not any(clip.split == split for clip in clips):
            raise ManifestError(
                f"the manifest has no {split} clip, so there is nothing to {purpose}. Put raw videos of "
                f"the {split} split into paths.raw_dir and run: python preprocess.py"
            )
    if len({clip.label for clip in clips}) < 2:
        raise ManifestError(
            f"the manifest has only one gloss, {clips[0].gloss!r}. Training needs at least two"
        )
    return glosses, clips
