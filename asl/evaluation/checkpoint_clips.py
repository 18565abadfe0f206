"""The clips of a manifest that a checkpoint is measured on, checked to be those that it was trained for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asl.config.setting import ConfigError, as_override, shell_override
from asl.contract.frame_store import FrameSettings
from asl.contract.manifest import ManifestError
from asl.data.framing import Framing
from asl.data.read_clips import LabelledClips, read_labelled_clips
from asl.data.readers.base import ReaderSettings
from asl.data.settings import DataSettings, ManifestSettings
from asl.data.split import OFFICIAL, SplitSettings, split_clips
from asl.messages import first_few
from asl.training.checkpoints import CheckpointError
from asl.training.identity import (
    clip_keys,
    dataset_names,
    difference,
    frames_info,
    gloss_difference,
    reader_name,
    stored_frames,
    trained_on_several,
)


def check_reader(reader: ReaderSettings, frames: FrameSettings, info: Mapping[str, Any], path: Path) -> None:
    """Raise ConfigError if the reader cannot give the frames that the checkpoint ``path`` was trained on.

    Args:
        reader: settings of the reader.
        frames: which frames are stored.
        info: the checkpoint's key ``asl``.
        path: the checkpoint, for the message.
    """
    data = DataSettings(**info["sampling"], **dataclasses.asdict(Framing.of(info)))
    problems = list(reader.problems_with(data, frames))
    if problems:
        raise ConfigError("\n".join(problems) + f"\n(data.* are those of {path})")
    settings = info.get("settings", {})  # not in checkpoints of earlier versions
    if settings.get("reader") == reader_name(reader):
        differing = difference(stored_frames(info), frames_info(frames), "frames.")
        if differing:
            raise ConfigError(
                f"{path} was trained on other frames: {', '.join(differing)}. Set these keys to "
                "the values there"
            )


def read_checkpoint_clips(
    info: Mapping[str, Any], path: Path, *, dataset: str, data: ManifestSettings, split: str
) -> LabelledClips:
    """Read all clips with the checkpoint's split.

    A checkpoint of several manifests can be measured on any of them: clips have the checkpoint's labels, and
    those of other glosses are left out.

    Args:
        info: the checkpoint's key ``asl``.
        path: the checkpoint, for messages.
        dataset: name of the data set.
        data: the manifests, and the label map of a single one.
        split: which clips are to be measured: train, val or test.

    Raises:
        CheckpointError: the checkpoint was trained on another data set, with other glosses, with a split of
            a later version, or on clips that are to be measured.
        ManifestError: a manifest cannot be read, or there are no clips of ``split``.
        LabelMapError: a label map is missing, or does not fit its manifest.
    """
    trained_on = dataset_names(info)
    if dataset not in trained_on:
        raise CheckpointError(
            f"{path} was trained on the data set {info['dataset']}, and this is {dataset}. "
            f"Choose dataset={' or dataset='.join(trained_on)}, or for your own data the keys that it was "
            "preprocessed with, as dataset=folder dataset.root=...; for other clips of its glosses, add "
            "data.manifest=..."
        )
    manifest = as_override(data.manifest)
    glosses = info["glosses"] if trained_on_several(info) else None
    labelled = read_labelled_clips(data.manifests, data.label_map, glosses=glosses)
    other_glosses = gloss_difference(info["glosses"], labelled.glosses)
    if other_glosses:
        raise CheckpointError(
            f"{path} was trained with another label map than that of {manifest}: {other_glosses}. Give the "
            "manifest and the label map it was trained on with data.manifest=... and data.label_map=..."
        )
    try:
        settings = SplitSettings.named(info.get("split", OFFICIAL))  # not in checkpoints of the first version
    except ValueError as error:
        raise CheckpointError(
            f"{path} was trained on a split that this version does not know: {error}"
        ) from None
    clips = split_clips(labelled.clips, settings)
    if split != "train":
        theirs = info.get("clips", {})  # not in checkpoints of earlier versions
        train_keys, measured = set(theirs.get("train", {}).values()), theirs.get(split, {})
        seen = [  # the training's own split may hold copies: the audit flags them
            name
            for name, key in clip_keys(clips)[split].items()
            if key in train_keys and measured.get(name) != key
        ]
        if seen:
            raise CheckpointError(
                f"{path} was trained on {len(seen)} of the {split} clips of {manifest} "
                f"({first_few(seen, most=3)}), so their accuracy says nothing about new clips. Give the "
                f"manifest it was trained on: {shell_override('data.manifest', info['manifest'])}"
            )
    if not any(clip.split == split for clip in clips):
        raise ManifestError(f"{manifest} has no {split} clips. Measure another split=...")
    return dataclasses.replace(labelled, clips=clips)
